"""A number that says what it is: value, unit, and where it comes from.

All rules for printing numbers are here. A modeled number never appears without the word
"modeled" and its band, and a number that is not finite cannot be made.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from math import isfinite

from qhal.errors import InternalError


class Basis(Enum):
    """Where a number comes from; the value is what reports print."""

    MEASURED_DEVICE = "measured-device"
    """A clock or meter on the target itself."""
    MEASURED_HOST = "measured-host"
    """A clock or a comparison on the machine that runs qhal."""
    COUNTED = "counted"
    """An exact count of something that exists: bytes of a file, operations of a graph."""
    COUNTED_EMULATED = "counted-emulated"
    """Counted or computed in an emulation of the target, the oracle included."""
    ESTIMATED_COMPILER = "estimated-compiler"
    """What the vendor's compiler says."""
    MODELED = "modeled"
    """A formula over published figures. Always has a band."""


class Topic(Enum):
    """What a number describes; the value heads its section of a report."""

    ACCURACY = "Accuracy"
    LATENCY = "Latency"
    SIZE = "Size and memory"
    ENERGY = "Energy"


LABELS: Mapping[Topic, Mapping[str, str]] = {
    Topic.ACCURACY: {
        "top1": "top-1",
        "top1_float": "top-1, float model",
        "top1_drop": "top-1 drop",
        "top5": "top-5",
        "top5_float": "top-5, float model",
        "agreement": "agreement",
        "sqnr": "SQNR",
        "equal": "equal elements",
        "cosine": "cosine",
        "max_abs_error": "largest difference from float",
        "oracle_max_steps": "runtime to oracle, largest",
        "oracle_within_1_step": "runtime to oracle, within 1 step",
        "oracle_sqnr": "runtime to oracle, SQNR",
        "oracle_reference_max_steps": "reference kernels to oracle, largest",
        "oracle_reference_within_1_step": "reference kernels to oracle, within 1 step",
        "emulated_reference_identical": "emulated target to host, reference kernels",
        "emulated_identical": "emulated target to host",
        "import_error": "imported graph to the model file",
        "rewrite_error": "rewritten graph to the model file",
        "evaluation_samples": "evaluation samples",
    },
    Topic.LATENCY: {
        "latency": "on the target",
        "instructions": "instructions on the target",
        "instructions_float": "instructions on the target, float",
        "instructions_ratio": "instructions, float over quantized",
        "latency_host_p50": "on this host, p50",
        "latency_host_p90": "on this host, p90",
        "latency_host_float_p50": "float on this host, p50",
        "latency_host_float_p90": "float on this host, p90",
        "speedup_host": "speed-up on this host",
        "speedup_first": "speed-up over the first folder",
    },
    Topic.SIZE: {
        "size_artifact": "artifact",
        "size_float_artifact": "float artifact",
        "size_ratio": "float over quantized",
        "size_model": "the model file",
        "stored_bits_per_weight": "stored bits per weight",
        "compute_bits": "compute bits",
        "macs": "multiply-accumulates",
        "peak_memory": "peak memory",
        "peak_memory_float": "peak memory, float",
    },
    Topic.ENERGY: {
        "energy_proxy": "energy proxy",
        "energy_proxy_float": "energy proxy, float",
        "energy_lower_bound": "arithmetic lower bound",
        "energy_lower_bound_float": "arithmetic lower bound, float",
        "energy_lower_bound_ratio": "lower bounds, float over quantized",
    },
}
"""qhal's own numbers: topic -> name -> what reports call it, in the order of a report."""

_BACKENDS_MAY_STATE = frozenset(
    {
        "latency",
        "instructions",
        "instructions_float",
        "instructions_ratio",
        "emulated_identical",
        "emulated_reference_identical",
    }
)
"""Of these numbers, the ones that only a backend can find out, or knows better than a model."""

_OWN_FAMILIES = re.compile(r"(top\d+|oracle|latency_host)(_.*)?|sqnr\[.*")
"""Names of qhal's own numbers that :data:`LABELS` does not list one by one."""


def is_own(name: str) -> bool:
    """Return True for the name of a number that qhal itself finds out, and no backend may state."""
    listed = any(name in labels for labels in LABELS.values()) and name not in _BACKENDS_MAY_STATE
    return listed or _OWN_FAMILIES.fullmatch(name) is not None


_GATES = frozenset({"max-drop", "max-fallback", "closed-loop", "float-top1", "verification"})
"""Names of gates, which stand beside the numbers in a report."""


def is_own_label(label: str) -> bool:
    """Return True for what reports call a number of qhal's own, in whatever case it is written."""
    own = {text.casefold() for labels in LABELS.values() for text in labels.values()}
    return _folded(label) in own | _GATES


def looks_own(name: str) -> bool:
    """Return True for a name that readers take for one of qhal's own: in other case, spaced."""
    return name != _folded(name) and is_own(_folded(name))


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split()).casefold()


_REMARKS = {
    Basis.MODELED: "modeled",
    Basis.ESTIMATED_COMPILER: "estimated by the compiler",
    Basis.COUNTED_EMULATED: "emulated",
}
"""What is printed after a number that was not measured, wherever it is printed."""


@dataclass(frozen=True)
class Metric:
    """One number.

    Attributes:
        value: finite.
        unit: one of the keys of :data:`UNITS`, or any other word, which is printed as it is.
        basis: where it comes from.
        low: lower end of the band, in the same unit; a modeled number must have one.
        high: upper end of the band.
        note: one short sentence, such as what the band means.
        label: what reports call a number that a backend found; empty for qhal's own.
        topic: the section that such a number stands in there; None for the last one.
        omits: what the number leaves out, such as ``3 operators on the CPU``; printed wherever
            the number is.
    """

    value: float
    unit: str
    basis: Basis
    low: float | None = None
    high: float | None = None
    note: str = ""
    label: str = ""
    topic: Topic | None = None
    omits: str = ""

    def __post_init__(self) -> None:
        present = [x for x in (self.value, self.low, self.high) if x is not None]
        if not all(map(isfinite, present)):
            raise InternalError(f"a metric in {self.unit or 'no unit'} is not finite: {present}.")
        if self.basis is Basis.MODELED and len(present) < 3:
            raise InternalError(f"a modeled metric ({self.value} {self.unit}) has no band.")

    def __str__(self) -> str:
        text = format_value(self.value, self.unit)
        band = format_band(self.low, self.high, self.unit)
        remark = ", ".join(filter(None, (remarks(self), band)))
        return f"{text} ({remark})" if remark else text


def remarks(metric: Metric) -> str:
    """Return what to print beside the number: that it was not measured, and what it omits."""
    omits = f"without {metric.omits}" if metric.omits else ""
    return ", ".join(filter(None, (_REMARKS.get(metric.basis, ""), omits)))


def topic_of(name: str, metric: Metric) -> Topic | None:
    """Find the topic of a number: from its name if it is qhal's own, else what it states itself.

    Returns:
        None if it has no topic; reports print it last.
    """
    return next((topic for topic, labels in LABELS.items() if name in labels), metric.topic)


_Ladder = tuple[tuple[float, str], ...]

UNITS: dict[str, _Ladder] = {
    "ns": ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1, "ns")),
    "bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "KB"), (1, "B")),
    "pJ": ((1e12, "J"), (1e9, "mJ"), (1e6, "uJ"), (1e3, "nJ"), (1, "pJ")),
    "count": ((1e9, "G"), (1e6, "M"), (1, "")),
}
"""Units that are scaled for reading: (factor, printed unit), largest first."""


IDENTICAL_DB = 200.0
"""The SQNR of what does not differ; no noise of float32 is that small."""

_PLURALS = frozenset({"steps", "points", "bits"})


def format_value(value: float, unit: str) -> str:
    """Format a value, scaled for reading: ``format_value(2.3e6, "ns") == "2.30 ms"``."""
    if unit == "fraction":
        return f"{100 * value:.2f} %"
    if unit == "ratio":
        return f"{value:.2f}x"
    if unit == "cosine":
        return f"{value:.5f}"
    if unit == "dB" and value == IDENTICAL_DB:
        return f"{_digits(value)} dB, identical"
    if unit in UNITS:
        factor, printed = _rung(value, UNITS[unit])
        return f"{_digits(value / factor, whole=factor == 1)} {printed}".rstrip()
    word = unit.removesuffix("s") if value == 1 and unit in _PLURALS else unit
    return f"{_digits(value)} {word}".rstrip()


def counted(number: int, word: str) -> str:
    """Format a count: ``1 node``, ``2 nodes``."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def format_band(low: float | None, high: float | None, unit: str) -> str:
    """Format ``1.2 to 3.4 ms``; empty where either end is absent."""
    if low is None or high is None:
        return ""
    first, last = format_value(low, unit), format_value(high, unit)
    shared = last.rpartition(" ")[2]
    return f"{first.removesuffix(f' {shared}')} to {last}"


def _rung(value: float, ladder: _Ladder) -> tuple[float, str]:
    return next((rung for rung in ladder if abs(value) >= rung[0]), ladder[-1])


def _digits(value: float, whole: bool = False) -> str:
    """Format with about three significant digits, in scientific notation only if it is tiny."""
    magnitude = abs(value)
    if value == int(value) and (whole or magnitude < 1000):
        return f"{int(value):,}"
    if magnitude >= 100:
        return f"{value:,.0f}" if magnitude >= 1000 else f"{value:.1f}"
    return f"{value:.2f}" if magnitude >= 0.1 else f"{value:.2g}"
