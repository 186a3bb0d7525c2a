"""The parameters of activations: one for each group of tensors that share them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from qhal.decisions import Code, Decision
from qhal.errors import InternalError
from qhal.ir.graph import Node
from qhal.ir.ops import Clip, DepthwiseConv, Pad
from qhal.quant.arithmetic import channel_params, fixed_params, params_from_range
from qhal.quant.collectors import TensorStats
from qhal.quant.constraints import Constraints
from qhal.quant.masks import clip_stats, useful_range
from qhal.quant.model import QuantParams
from qhal.quant.range_estimators import RealRange, choose_range
from qhal.quant.scores import AttentionScores
from qhal.targets.spec import FixedQParams, PerAxis, PerTensor, QuantSpec


@dataclass(frozen=True, eq=False)
class Activations:
    """Parameters of every quantized activation.

    Attributes:
        params: tensor of the graph with conversions -> its parameters.
        decisions: ranges that were cut, or set by convention.
    """

    params: Mapping[str, QuantParams]
    decisions: tuple[Decision, ...]


def plan_activations(
    constraints: Constraints, stats: Mapping[str, TensorStats], observer: str
) -> Activations:
    """Choose the parameters of every group.

    Args:
        constraints: from :func:`qhal.quant.constraints.constrain`.
        stats: statistics of at least ``constraints.to_observe``, by tensor of the float graph.
        observer: range estimator: minmax, percentile or mse.
    """
    return _Planner(constraints, stats, observer, AttentionScores.of(constraints.qdq.graph)).run()


@dataclass
class _Planner:
    constraints: Constraints
    stats: Mapping[str, TensorStats]
    observer: str
    scores: AttentionScores
    params: dict[str, QuantParams] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)

    def run(self) -> Activations:
        for group in self.constraints.groups:
            self._assign_group(group)
        return Activations(self.params, tuple(self.decisions))

    def _assign_group(self, group: tuple[str, ...]) -> None:
        specs = [self._spec(name) for name in group]
        pinned = [spec for spec in specs if isinstance(spec, FixedQParams)]
        if pinned:
            params = fixed_params(pinned[0])
        else:
            params = self._channel_params(group) or self._shared_params(group, _strictest(specs))
        self.params.update(dict.fromkeys(group, params))

    def _shared_params(self, group: tuple[str, ...], spec: QuantSpec) -> QuantParams:
        low, high = self._range(group)
        return params_from_range(low, high, replace(spec, granularity=PerTensor()))

    def _channel_params(self, group: tuple[str, ...]) -> QuantParams | None:
        """Return parameters per channel; None where a scale has to be shared.

        The extremes of a channel count as far as they lie in the range that the observer chose
        for the whole tensor.
        """
        qdq, name = self.constraints.qdq, group[0]
        spec = self._spec(name)
        stats = self.stats.get(qdq.observed.get(name, ""))
        if len(group) > 1 or not isinstance(spec, QuantSpec) or stats is None:
            return None
        if spec.granularity != PerAxis() or stats.channel_extremes is None:
            return None
        op = qdq.graph.consumers[name][0].op
        assert isinstance(op, DepthwiseConv)
        axis = op.layout.channel_axis(len(qdq.graph.tensors[name].shape))
        low, high = np.clip(stats.channel_extremes, *self._range(group))
        return channel_params(low, high, spec, axis)

    def _spec(self, name: str) -> QuantSpec | FixedQParams:
        qdq = self.constraints.qdq
        if name in qdq.specs:
            return qdq.specs[name]
        spec = qdq.forms[name].spec
        assert isinstance(spec, QuantSpec)
        return spec

    def _range(self, group: tuple[str, ...]) -> RealRange:
        members = [name for name in group if not self.scores.is_mask(name)] or group
        found = [r for name in members if (r := self._own_range(name)) is not None]
        if not found:
            raise InternalError(f"no statistics for any of {', '.join(group)}.")
        low, high = min(low for low, _ in found), max(high for _, high in found)
        for name in group:
            low, high = _with_bounds(self.constraints.qdq.graph.producers.get(name), low, high)
        return low, high

    def _own_range(self, name: str) -> RealRange | None:
        qdq = self.constraints.qdq
        if name in qdq.graph.constants:
            value = self.scores.constant(name)
            return float(value.min()), float(value.max())
        observed = qdq.observed[name]
        low, high = np.inf, -np.inf
        if observed in self.stats:
            spec = self._spec(name)
            assert isinstance(spec, QuantSpec)
            useful = self.scores.ranges.get(name) or useful_range(qdq.graph, name, spec.dtype.bits)
            low, high = choose_range(clip_stats(self.stats[observed], useful), spec, self.observer)
            self._note_range(observed, self.stats[observed], (low, high))
        producer = qdq.graph.producers.get(name)
        if producer is not None and isinstance(producer.op, Pad) and producer.op.mode == "constant":
            low, high = min(low, producer.op.value), max(high, producer.op.value)
        return (low, high) if low <= high else None

    def _note_range(self, name: str, stats: TensorStats, chosen: RealRange) -> None:
        if stats.minimum == stats.maximum:
            value = f"{stats.minimum:g} in every sample"
            sentence = f"{name} was {value}; its scale was set by convention."
            self._decide(Code.CONSTANT_RANGE, sentence, name)
        elif chosen[0] > min(stats.minimum, 0.0) or chosen[1] < max(stats.maximum, 0.0):
            sentence = (
                f"The {self.observer} observer clipped {name} from {stats.minimum:.4g} … "
                f"{stats.maximum:.4g} to {chosen[0]:.4g} … {chosen[1]:.4g}."
            )
            self._decide(Code.RANGE_CLIPPED, sentence, name)

    def _decide(self, code: Code, sentence: str, subject: str) -> None:
        decision = Decision(code, sentence, subject)
        if decision not in self.decisions:
            self.decisions.append(decision)


def _with_bounds(producer: Node | None, low: float, high: float) -> RealRange:
    """Extend a range by the bound that a Clip returns where all of the range lies outside."""
    if producer is None or not isinstance(producer.op, Clip):
        return low, high
    return min(low, producer.op.high), max(high, producer.op.low)


def _strictest(specs: list[QuantSpec | FixedQParams]) -> QuantSpec:
    """Return one spec that satisfies all members of a group."""
    plain = [spec for spec in specs if isinstance(spec, QuantSpec)]
    return replace(
        plain[0],
        symmetric=any(spec.symmetric for spec in plain),
        narrow_range=any(spec.narrow_range for spec in plain),
    )
