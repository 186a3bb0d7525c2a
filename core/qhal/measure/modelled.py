"""Latency of an accelerator from its published figures, where nobody can hold a clock to it.

    invocation + input bytes / link rate + streamed weight bytes / stream rate + operations / rate

Weights that do not fit on the chip are streamed at every inference. Published figures disagree,
so the result is a range: its low end takes the fastest figures, its high end the slowest.
"""

from __future__ import annotations

from qhal.ir.cost import operations, size_bytes
from qhal.ir.graph import NodeView
from qhal.measure.counted import constant_bytes, unit_of
from qhal.metric import Basis, Metric
from qhal.quant.model import QuantModel
from qhal.target.profile import TargetProfile


def target_latency(model: QuantModel, profile: TargetProfile) -> dict[str, Metric]:
    """``latency`` on the target, modelled; nothing where the profile lacks the figures.

    Facts that are read: ``sustained_low_ops_per_s`` and ``sustained_high_ops_per_s`` (needed),
    ``invocation_s``, ``input_bytes_per_s``, ``weights_bytes_per_s`` with
    ``parameter_cache_low_bytes`` and ``parameter_cache_high_bytes``.
    """
    rates = [_fact(profile, f"sustained_{end}_ops_per_s") for end in ("low", "high")]
    if not all(rates):
        return {}
    fixed_s = _fact(profile, "invocation_s") + _link_s(model, profile)
    work = sum(
        operations(NodeView(model.graph, node))
        for node in model.graph.nodes
        if not unit_of(model, node.name)
    )
    slow_s = fixed_s + work / rates[0] + _stream_s(model, profile, "low")
    fast_s = fixed_s + work / rates[1] + _stream_s(model, profile, "high")
    low_ns, high_ns = 1e9 * fast_s, 1e9 * slow_s
    middle_ns = (low_ns + high_ns) / 2
    note = _note(model)
    return {"latency": Metric(middle_ns, "ns", Basis.MODELLED, low_ns, high_ns, note)}


def _fact(profile: TargetProfile, key: str) -> float:
    return profile.facts[key].value if key in profile.facts else 0.0


def _link_s(model: QuantModel, profile: TargetProfile) -> float:
    rate = _fact(profile, "input_bytes_per_s")
    graph = model.graph
    return sum(size_bytes(graph.tensors[name]) for name in graph.inputs) / rate if rate else 0.0


def _stream_s(model: QuantModel, profile: TargetProfile, end: str) -> float:
    """Time to stream the weights beyond the cache; a small cache is the slow case."""
    rate = _fact(profile, "weights_bytes_per_s")
    cache = _fact(profile, f"parameter_cache_{end}_bytes")
    beyond = max(0.0, constant_bytes(model, unit="") - cache)
    return beyond / rate if rate and cache else 0.0


def _note(model: QuantModel) -> str:
    elsewhere = sum(1 for node in model.graph.nodes if unit_of(model, node.name))
    note = "from published figures, if the target takes all that is planned for it"
    return f"{note}; {elsewhere} nodes on the host are not included" if elsewhere else note
