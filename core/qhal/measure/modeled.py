"""Latency of an accelerator from its published figures, where it cannot be timed.

    invocation + input bytes / link rate + streamed weight bytes / stream rate + operations / rate

Weights that do not fit on the chip are streamed at every inference. Published figures disagree,
so the result is a range, from the fastest figures to the slowest.
"""

from __future__ import annotations

from dataclasses import dataclass

from qhal.ir.cost import operations, size_bytes
from qhal.ir.graph import NodeView
from qhal.measure.counted import constant_bytes
from qhal.metric import Basis, Metric, counted
from qhal.quant.model import QuantModel
from qhal.targets.profile import TargetProfile

_NOTE = "computed from published figures; assumes that the target runs every node planned for it"


@dataclass(frozen=True)
class Work:
    """What one inference asks of the target's main unit.

    Attributes:
        operations: arithmetic operations, two per multiply-accumulate.
        input_bytes: inputs that cross the link.
        constant_bytes: weights and other constants.
    """

    operations: int
    input_bytes: int
    constant_bytes: int


def target_latency(model: QuantModel, profile: TargetProfile) -> dict[str, Metric]:
    """Model ``latency`` on the target; nothing where the profile lacks the figures."""
    ends = latency_range_ns(work_of(model), profile)
    if ends is None:
        return {}
    low_ns, high_ns = ends
    middle_ns = (low_ns + high_ns) / 2
    omits = _omits(model)
    metric = Metric(middle_ns, "ns", Basis.MODELED, low_ns, high_ns, _NOTE, omits=omits)
    return {"latency": metric}


def work_of(model: QuantModel) -> Work:
    """Sum up the work of the nodes that are planned for the main unit."""
    graph = model.graph
    nodes = (node for node in graph.nodes if not model.unit_of(node))
    return Work(
        sum(operations(NodeView(graph, node)) for node in nodes),
        sum(size_bytes(graph.tensors[name]) for name in graph.inputs),
        constant_bytes(model, unit=""),
    )


def latency_range_ns(work: Work, profile: TargetProfile) -> tuple[float, float] | None:
    """Return the fastest and the slowest latency that the profile's figures allow.

    Facts that are read: ``sustained_low_ops_per_s`` and ``sustained_high_ops_per_s`` (without
    both the result is None), ``invocation_s``, ``input_bytes_per_s``, and for streaming
    ``weights_low_bytes_per_s``, ``weights_high_bytes_per_s``, ``parameter_cache_low_bytes``
    and ``parameter_cache_high_bytes``.
    """
    slow, fast = (_end_s(work, profile, end) for end in ("low", "high"))
    return None if slow is None or fast is None else (1e9 * fast, 1e9 * slow)


def _end_s(work: Work, profile: TargetProfile, end: str) -> float | None:
    """Return the latency in seconds by the ``low`` or the ``high`` figures."""
    rate = _fact(profile, f"sustained_{end}_ops_per_s")
    if not rate:
        return None
    cache = _fact(profile, f"parameter_cache_{end}_bytes")
    streamed = max(0.0, work.constant_bytes - cache) if cache else 0.0
    return (
        _fact(profile, "invocation_s")
        + _transfer_s(work.input_bytes, _fact(profile, "input_bytes_per_s"))
        + _transfer_s(streamed, _fact(profile, f"weights_{end}_bytes_per_s"))
        + work.operations / rate
    )


def _fact(profile: TargetProfile, key: str) -> float:
    return profile.facts[key].value if key in profile.facts else 0.0


def _transfer_s(size: float, rate: float) -> float:
    """Return the time of a transfer; 0 if its rate is unknown."""
    return size / rate if rate else 0.0


def _omits(model: QuantModel) -> str:
    elsewhere = sum(1 for node in model.graph.nodes if model.unit_of(node))
    return f"{counted(elsewhere, 'node')} on the host" if elsewhere else ""
