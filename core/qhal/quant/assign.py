"""Constraints + statistics -> quantization parameters and integer constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from qhal.decisions import Code, Decision
from qhal.errors import InternalError
from qhal.ir.graph import Array, Graph, Node, TensorType
from qhal.ir.ops import DepthwiseConv, Gru, Lstm, Pad, Role
from qhal.quant.arithmetic import (
    channel_params,
    fixed_params,
    params_from_range,
    quantize,
    rounded,
    weight_params,
)
from qhal.quant.collectors import TensorStats
from qhal.quant.constraints import Constraints
from qhal.quant.covariance import receptive_field_of
from qhal.quant.masks import clip_if_mask, clip_stats, is_mask, useful_range
from qhal.quant.model import QuantModel, QuantParams
from qhal.quant.qdq_insertion import ConstantForm
from qhal.quant.range_estimators import RealRange, choose_range
from qhal.quant.weights import WeightTask, quantize_weights
from qhal.targets.spec import Derived, FixedQParams, PerAxis, PerTensor, QuantSpec


@dataclass(frozen=True, eq=False)
class Assignment:
    """A quantized model with what was decided on the way."""

    model: QuantModel
    decisions: tuple[Decision, ...]


def assign(
    constraints: Constraints,
    stats: Mapping[str, TensorStats],
    observer: str,
    element_order: Mapping[str, npt.NDArray[np.intp]] | None = None,
) -> Assignment:
    """Give every tensor its parameters and every constant its stored form.

    Args:
        constraints: from :func:`qhal.quant.constraints.constrain`.
        stats: statistics of at least ``constraints.to_observe``, by tensor of the float graph.
        observer: name of the range estimator: minmax, percentile or mse.
        element_order: flattened tensors whose elements the layout permuted, with
            ``here.flat = there.flat[order]``.
    """
    return _Assigner(constraints, stats, observer, element_order or {}).run()


@dataclass
class _Assigner:
    constraints: Constraints
    stats: Mapping[str, TensorStats]
    observer: str
    element_order: Mapping[str, npt.NDArray[np.intp]]
    params: dict[str, QuantParams] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)

    def run(self) -> Assignment:
        qdq = self.constraints.qdq
        self.constants = dict(qdq.graph.constants)
        for group in self.constraints.groups:
            self._assign_group(group)
        for node in qdq.graph.nodes:
            self._assign_weights(node)
        self._store_activation_constants()
        model = QuantModel(
            graph=self._typed_constants(qdq.graph),
            params=self.params,
            kernels={n: c.row for n, c in self.constraints.choices.items() if c.row is not None},
            arithmetic=self.constraints.arithmetic,
            recipe=self.constraints.policy.name,
        )
        return Assignment(model, tuple(self.decisions))

    # --- activations ---

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
        graph = self.constraints.qdq.graph
        members = [name for name in group if not is_mask(graph, name)] or group
        found = [r for name in members if (r := self._own_range(name)) is not None]
        if not found:
            raise InternalError(f"no statistics for any of {', '.join(group)}.")
        return min(low for low, _ in found), max(high for _, high in found)

    def _own_range(self, name: str) -> RealRange | None:
        qdq = self.constraints.qdq
        if name in qdq.graph.constants:
            value = clip_if_mask(qdq.graph, name)
            return float(value.min()), float(value.max())
        observed = qdq.observed[name]
        low, high = np.inf, -np.inf
        if observed in self.stats:
            spec = self._spec(name)
            assert isinstance(spec, QuantSpec)
            useful = useful_range(qdq.graph, name, spec.dtype.bits)
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
                f"The range estimator {self.observer} clipped {name} from {stats.minimum:.4g} … "
                f"{stats.maximum:.4g} to {chosen[0]:.4g} … {chosen[1]:.4g}."
            )
            self._decide(Code.RANGE_CLIPPED, sentence, name)

    def _decide(self, code: Code, sentence: str, subject: str) -> None:
        decision = Decision(code, sentence, subject)
        if decision not in self.decisions:
            self.decisions.append(decision)

    # --- weights ---

    def _assign_weights(self, node: Node) -> None:
        forms = self.constraints.qdq.forms
        layer = not isinstance(node.op, Lstm | Gru) and len(node.inputs) > 1
        spec = forms[node.inputs[1]].spec if layer and node.inputs[1] in forms else None
        if layer and _is_weight(node, 1) and isinstance(spec, QuantSpec) and spec.coarse:
            self._store_weights(node, spec)
            return
        for index, name in enumerate(node.inputs):
            if name in forms and node.op.role(index) is not Role.ACTIVATION:
                self._store_plain(node, name, forms[name])

    def _store_weights(self, node: Node, spec: QuantSpec) -> None:
        qdq = self.constraints.qdq
        weight, bias = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else ""
        bias_spec = qdq.forms[bias].spec if bias in qdq.forms else None
        result = quantize_weights(
            WeightTask(
                node=node.name,
                op=node.op,
                weight=qdq.graph.constants[weight],
                bias=qdq.graph.constants[bias] if bias else None,
                spec=spec,
                bias_dtype=None if bias_spec is None else bias_spec.dtype,
                source=self.params.get(node.inputs[0]),
                result=self.params.get(node.outputs[0]),
                channel_mean=self._channel_mean(node.inputs[0]),
                covariance=self._covariance(node),
            )
        )
        self.constants[weight] = result.weight
        if result.weight_params is not None:
            self.params[weight] = result.weight_params
        if result.bias is not None:
            self.constants[bias] = result.bias
        if result.bias_params is not None:
            self.params[bias] = result.bias_params
        self.decisions.extend(result.decisions)

    def _store_plain(self, node: Node, name: str, form: ConstantForm) -> None:
        """Store a half-precision weight or bias, or a recurrent weight, without correction."""
        assert isinstance(form.spec, QuantSpec)
        value = self.constraints.qdq.graph.constants[name]
        if not form.spec.quantized:
            self.constants[name] = rounded(value, form.spec.dtype)
            return
        gates = 1 if isinstance(node.op, Lstm | Gru) else 0
        self.params[name] = weight_params(value, form.spec, gates)
        self.constants[name] = quantize(value, self.params[name])

    def _channel_mean(self, name: str) -> npt.NDArray[np.float32] | None:
        observed = self.constraints.qdq.observed.get(name, "")
        stats = self.stats.get(observed)
        if stats is None or stats.channel_mean is None:
            return None
        order = self.element_order.get(observed)
        mean = stats.channel_mean if order is None else stats.channel_mean[order]
        return np.asarray(mean, np.float32)

    def _covariance(self, node: Node) -> npt.NDArray[np.float64] | None:
        """Look up what is known of the node's inputs.

        None for a weight of several nodes, which see different inputs.
        """
        graph = self.constraints.qdq.graph
        if len(graph.consumers[node.inputs[1]]) > 1:
            return None
        observed = self.constraints.qdq.observed.get(node.inputs[0], "")
        field = receptive_field_of(node.op, graph.constants[node.inputs[1]].shape)
        kept = self.stats[observed].covariances if observed in self.stats else {}
        found, order = kept.get(str(field)), self.element_order.get(observed)
        if found is None or order is None:
            return found
        return found[:, order][:, :, order]

    # --- constants ---

    def _store_activation_constants(self) -> None:
        for name, form in self.constraints.qdq.forms.items():
            if form.role is Role.ACTIVATION:
                value = clip_if_mask(self.constraints.qdq.graph, name)
                self.constants[name] = quantize(value, self.params[name])

    def _typed_constants(self, graph: Graph) -> Graph:
        tensors = dict(graph.tensors)
        for name, form in self.constraints.qdq.forms.items():
            stored = form.spec.dtype
            unchanged = isinstance(form.spec, Derived) and name not in self.params
            tensors[name] = tensors[name] if unchanged else TensorType(tensors[name].shape, stored)
        return replace(graph, tensors=tensors, constants=self.constants)


def _is_weight(node: Node, index: int) -> bool:
    return node.op.role(index) is Role.WEIGHT


def _strictest(specs: list[QuantSpec | FixedQParams]) -> QuantSpec:
    """Return one spec that satisfies all members of a group."""
    plain = [spec for spec in specs if isinstance(spec, QuantSpec)]
    return replace(
        plain[0],
        symmetric=any(spec.symmetric for spec in plain),
        narrow_range=any(spec.narrow_range for spec in plain),
    )
