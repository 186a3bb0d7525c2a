"""Energy: two figures that are never confused. Both are models; neither is a measurement.

*Energy proxy*: the profile's active power x latency. It exists only where the profile has a
power figure with a source and the latency is the target's.

*Arithmetic lower bound*: operations x energy per operation + bytes x energy per byte, from the
table of M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014,
figure 1.1.9 (45 nm, 0.9 V). A chip spends many times that on control, registers and caches, so
it is good for the ratio between two artifacts of one model, and for nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qhal.decisions import Code, Decision
from qhal.ir.cost import macs, operations, size_bytes
from qhal.ir.dtypes import DType
from qhal.ir.graph import NodeView
from qhal.measure.counted import constant_bytes
from qhal.metric import Basis, Metric
from qhal.quant.model import QuantModel
from qhal.results.plan import declared_type
from qhal.targets.profile import RUNS_ON, TargetProfile

_PJ_PER_W_NS = 1e3  # 1 W x 1 ns = 1 nJ


@dataclass(frozen=True)
class OperationEnergy:
    """Energy of arithmetic on one element type, in pJ.

    Attributes:
        add: one addition.
        mac_low: one multiplication and its accumulation.
        mac_high: the same, where the table has a bound only; else equal to ``mac_low``.
    """

    add: float
    mac_low: float
    mac_high: float


# Horowitz 2014. Add: int8 0.03, int32 0.1, fp16 0.4, fp32 0.9. Multiply: int8 0.2, int32 3.1,
# fp16 1.1, fp32 3.7. Integer products accumulate in int32. The table has no 16-bit multiply:
# it lies between that of int8 and that of int32; the add is taken as int8's.
_INT8 = OperationEnergy(0.03, 0.2 + 0.1, 0.2 + 0.1)
_INT16 = OperationEnergy(0.03, 0.2 + 0.1, 3.1 + 0.1)
_INT32 = OperationEnergy(0.1, 3.1 + 0.1, 3.1 + 0.1)
_HALF = OperationEnergy(0.4, 1.1 + 0.4, 1.1 + 0.4)
_FLOAT = OperationEnergy(0.9, 3.7 + 0.9, 3.7 + 0.9)

OPERATION_PJ: Mapping[DType, OperationEnergy] = {
    **dict.fromkeys((DType.INT2, DType.INT4, DType.UINT4), _INT8),
    **dict.fromkeys((DType.INT8, DType.UINT8, DType.BOOL), _INT8),
    **dict.fromkeys((DType.INT16, DType.UINT16), _INT16),
    **dict.fromkeys((DType.INT32, DType.UINT32, DType.INT64, DType.UINT64), _INT32),
    **dict.fromkeys((DType.FLOAT16, DType.BFLOAT16), _HALF),
    **dict.fromkeys((DType.FLOAT32, DType.FLOAT64), _FLOAT),
}

DRAM_PJ_PER_BYTE = (160.0, 320.0)
"""1.3 to 2.6 nJ per 64 bits of DRAM: about 20 to 40 pJ per bit."""

_BOUND_NOTE = (
    "Horowitz 2014: covers arithmetic and one pass over DRAM; use it only to compare two artifacts"
)


@dataclass(frozen=True)
class Energy:
    """The estimates.

    Attributes:
        metrics: ``energy_proxy`` and the family of ``energy_lower_bound``.
        decisions: why there is no proxy, if there is none.
    """

    metrics: Mapping[str, Metric]
    decisions: tuple[Decision, ...] = ()


def energy(
    model: QuantModel,
    baseline: QuantModel | None,
    profile: TargetProfile,
    metrics: Mapping[str, Metric],
) -> Energy:
    """Estimate energy per inference, quantized and float.

    Args:
        model: the quantized model.
        baseline: the same model in float.
        profile: the target.
        metrics: the latencies that :func:`qhal.measure.measure` found.
    """
    proxy, decisions = _proxy(profile, metrics)
    return Energy({**proxy, **_bounds(model, baseline)}, decisions)


# --- the proxy ------------------------------------------------------------------


def _proxy(
    profile: TargetProfile, metrics: Mapping[str, Metric]
) -> tuple[dict[str, Metric], tuple[Decision, ...]]:
    power = profile.facts.get("active_power_w")
    if power is None:
        why = f"Target {profile.name} has no power figure with a source (fact active_power_w)"
        return {}, (_unavailable(why),)
    latencies = _target_latencies(profile, metrics)
    if not latencies:
        why = f"The latency on target {profile.name} is neither measured nor modeled"
        return {}, (_unavailable(why),)
    note = f"{power.value:g} W active power times latency; no meter was read"
    return {name: _times(latency, power.value, note) for name, latency in latencies.items()}, ()


def _unavailable(why: str) -> Decision:
    sentence = f"{why}, so there is no energy proxy. There is no power meter either."
    return Decision(Code.ENERGY_UNAVAILABLE, sentence)


def _target_latencies(profile: TargetProfile, metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Return the target's latencies: the modeled one, or the host's if it is the target."""
    if "latency" in metrics:
        return {"energy_proxy": metrics["latency"]}
    if profile.options.get(RUNS_ON) != "host":
        return {}
    names = {
        "energy_proxy": "latency_host_p50",
        "energy_proxy_float": "latency_host_float_p50",
    }
    return {ours: metrics[theirs] for ours, theirs in names.items() if theirs in metrics}


def _times(latency: Metric, power_w: float, note: str) -> Metric:
    factor = power_w * _PJ_PER_W_NS
    low = latency.value if latency.low is None else latency.low
    high = latency.value if latency.high is None else latency.high
    return Metric(latency.value * factor, "pJ", Basis.MODELED, low * factor, high * factor, note)


# --- the lower bound ------------------------------------------------------------


def _bounds(model: QuantModel, baseline: QuantModel | None) -> dict[str, Metric]:
    ours = lower_bound_pj(model)
    found = {"energy_lower_bound": _bound(ours)}
    if baseline is None or not all(ours):
        return found
    theirs = lower_bound_pj(baseline)
    found["energy_lower_bound_float"] = _bound(theirs)
    ratios = sorted(a / b for a, b in zip(theirs, ours, strict=True))
    note = "float over quantized, both from the same table"
    value = theirs[0] / ours[0]
    found["energy_lower_bound_ratio"] = Metric(
        value, "ratio", Basis.MODELED, ratios[0], ratios[1], note
    )
    return found


def _bound(ends: tuple[float, float]) -> Metric:
    return Metric(ends[0], "pJ", Basis.MODELED, ends[0], ends[1], _BOUND_NOTE)


def lower_bound_pj(model: QuantModel) -> tuple[float, float]:
    """Return the arithmetic lower bound per inference, by the table's low and high figures.

    Weights, inputs and outputs cross the memory interface once; activations in between stay on
    the chip. Operations that are not multiply-accumulates count as additions.
    """
    graph = model.graph
    ports = (*graph.inputs, *graph.outputs)
    moved = constant_bytes(model) + sum(size_bytes(graph.tensors[name]) for name in ports)
    low, high = (moved * price for price in DRAM_PJ_PER_BYTE)
    for node in graph.nodes:
        view = NodeView(graph, node)
        price = OPERATION_PJ[declared_type(model, node)]
        products = macs(view)
        if products:
            low, high = low + products * price.mac_low, high + products * price.mac_high
        else:
            additions = operations(view) * price.add
            low, high = low + additions, high + additions
    return low, high
