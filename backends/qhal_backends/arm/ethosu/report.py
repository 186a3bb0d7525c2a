"""What Vela made of a model, in qhal's terms: placement, figures and decisions.

The host of the NPU, which Vela calls the CPU, is the Cortex-M that drives it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite

from qhal.decisions import Code, Decision, Severity
from qhal.errors import RefusedError
from qhal.ir.cost import macs
from qhal.ir.graph import Graph, NodeView
from qhal.metric import Basis, Metric
from qhal.plugin.backend import PlacedNode, Placement
from qhal.target.capability import HOST
from qhal_backends.arm.ethosu.compiler import (
    COMPILED,
    LOG,
    SOURCE,
    SUMMARY,
    Configuration,
    read_cpu_count,
    read_reasons,
    read_summary,
    vela,
)
from qhal_backends.tflite.operators import CUSTOM, Operator, read_operators

Files = Mapping[str, bytes]


def read_placement(files: Files) -> Placement:
    """Compare a file with its compiled form: what is left as it was runs on the CPU.

    Every operator is reported under the name of the tensor that it makes.
    """
    compiled = read_operators(files[COMPILED])
    left = {operator.result for operator in compiled if operator.builtin != CUSTOM}
    reasons = read_reasons(files[LOG].decode(errors="replace"))
    placed = (_placed(op, op.result in left, reasons) for op in read_operators(files[SOURCE]))
    return Placement(tuple(placed), vela())


def _placed(operator: Operator, on_cpu: bool, reasons: Mapping[str, str]) -> PlacedNode:
    if not on_cpu:
        return PlacedNode(operator.result, operator.builtin, "")
    reason = reasons.get(operator.result)
    kernel = f"{operator.builtin} ({reason})" if reason else operator.builtin
    return PlacedNode(operator.result, kernel, HOST)


def check_uses_npu(placement: Placement, configuration: Configuration) -> None:
    """A model that leaves the NPU idle is not one for this target.

    Vela itself ends with 0 cycles and an infinite speed then.

    Raises:
        RefusedError: every operator stays on the CPU; the message lists them with reasons.
    """
    if any(node.unit != HOST for node in placement.nodes):
        return
    listed = "\n".join(f"  {node.name}: {node.kernel}." for node in placement.nodes)
    raise RefusedError(
        f"{placement.source} puts none of the {len(placement.nodes)} operators on the NPU of "
        f"{configuration.accelerator}:\n{listed}\n",
        "Deploy to a Cortex-M target instead.",
    )


# --- figures ----------------------------------------------------------------------

_CYCLES = {
    "cycles": "cycles_total",
    "cycles_npu": "cycles_npu",
    "cycles_sram": "cycles_sram_access",
    "cycles_dram": "cycles_dram_access",
    "cycles_on_chip_flash": "cycles_on_chip_flash_access",
    "cycles_off_chip_flash": "cycles_off_chip_flash_access",
}
_MEMORIES = {
    "sram_bytes": "sram_memory_used",
    "dram_bytes": "dram_memory_used",
    "on_chip_flash_bytes": "on_chip_flash_memory_used",
    "off_chip_flash_bytes": "off_chip_flash_memory_used",
}
_ALWAYS = frozenset({"cycles", "cycles_npu", "sram_bytes"})
_NS_PER_S = 1e9
_BYTES_PER_KIB = 1024


def metrics_of(files: Files, configuration: Configuration) -> dict[str, Metric]:
    """Vela's estimates; a memory that the system does not have is left out.

    All of them are in the files: neither Vela nor LiteRT has to be installed.
    """
    summary = {key: _number(value) for key, value in read_summary(files[SUMMARY]).items()}
    left = read_cpu_count(files[LOG].decode(errors="replace"))
    note = _note(left, configuration, summary["core_clock"])
    seconds = summary["inference_time"]
    found = {"latency": _estimate(seconds * _NS_PER_S, "ns", note)}
    if seconds > 0:
        found["inferences_per_second"] = _estimate(1 / seconds, "1/s", note)
    for name, column in _CYCLES.items():
        if summary[column] or name in _ALWAYS:
            found[name] = _estimate(summary[column], "cycles", note)
    for name, column in _MEMORIES.items():
        if summary[column] or name in _ALWAYS:
            found[name] = _estimate(summary[column] * _BYTES_PER_KIB, "bytes")
    return found


def _number(text: str) -> float:
    """A column as a number; 0 for words, and for the NaN of what never runs."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if isfinite(value) else 0.0


def _estimate(value: float, unit: str, note: str = "") -> Metric:
    return Metric(value, unit, Basis.ESTIMATED_COMPILER, note=note)


def _note(left: int | None, configuration: Configuration, clock_hz: float) -> str:
    note = f"Vela for {configuration} at {clock_hz / 1e6:g} MHz"
    count = "any" if left is None else left
    return f"{note}; {count} operators on the CPU are not included" if count else note


# --- decisions --------------------------------------------------------------------


def decisions_of(
    placement: Placement, graph: Graph, owners: Mapping[str, str], configuration: Configuration
) -> Iterable[Decision]:
    """One decision about the whole, and one for each operator that stays on the CPU.

    Args:
        placement: of the operators.
        graph: what was lowered.
        owners: first result of each operator -> the node that it belongs to.
        configuration: what was compiled for.
    """
    left = [node for node in placement.nodes if node.unit == HOST]
    share = share_on_npu(graph, {owners[node.name] for node in left})
    yield Decision(
        Code.COMPILED,
        f"{placement.source} put {len(placement.nodes) - len(left)} of {len(placement.nodes)} "
        f"operators with {100 * share:.4g} % of the multiply-accumulates on the NPU "
        f"({configuration}).",
    )
    for node in left:
        sentence = f"{node.name}: {node.kernel} stays on the CPU; its cycles are not included."
        yield Decision(Code.UNIT_FALLBACK, sentence, owners[node.name], Severity.WARNING)


def share_on_npu(graph: Graph, on_cpu: set[str]) -> float:
    """Share of the multiply-accumulates in nodes that are not on the CPU; 1 if there are none."""
    counts = {node.name: macs(NodeView(graph, node)) for node in graph.nodes}
    total = sum(counts.values())
    return 1 - sum(counts[name] for name in on_cpu if name in counts) / total if total else 1.0
