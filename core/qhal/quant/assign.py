"""Constraints + statistics -> quantization parameters and integer constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from qhal.decisions import Decision
from qhal.ir.graph import Array, Graph, Node, TensorType
from qhal.ir.ops import Gru, Lstm, Rnn, Role
from qhal.quant.activations import plan_activations
from qhal.quant.arithmetic import quantize, rounded, weight_params
from qhal.quant.collectors import TensorStats
from qhal.quant.constraints import Constraints
from qhal.quant.covariance import receptive_field_of
from qhal.quant.model import QuantModel, QuantParams
from qhal.quant.qdq_insertion import ConstantForm
from qhal.quant.scores import Scores
from qhal.quant.weights import WeightTask, quantize_weights
from qhal.targets.spec import Derived, QuantSpec


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
        observer: range estimator: minmax, percentile or mse.
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
        planned = plan_activations(self.constraints, self.stats, self.observer)
        self.params.update(planned.params)
        self.decisions.extend(planned.decisions)
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

    # --- weights ---

    def _assign_weights(self, node: Node) -> None:
        forms = self.constraints.qdq.forms
        layer = not isinstance(node.op, Lstm | Gru | Rnn) and len(node.inputs) > 1
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
                channel_mean=self._channel_mean(node),
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
        gates = 1 if isinstance(node.op, Lstm | Gru | Rnn) else 0
        self.params[name] = weight_params(value, form.spec, gates)
        self.constants[name] = quantize(value, self.params[name])

    def _channel_mean(self, node: Node) -> npt.NDArray[np.float32] | None:
        observed = self.constraints.qdq.observed.get(node.inputs[0], "")
        stats = self.stats.get(observed)
        mean = None if stats is None else stats.mean_for(node.name)
        if mean is None:
            return None
        order = self.element_order.get(observed)
        as_it_is = order is None or len(order) != len(mean)
        return np.asarray(mean if as_it_is else mean[order], np.float32)

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
        scores = Scores.of(self.constraints.qdq.graph)
        for name, form in self.constraints.qdq.forms.items():
            if form.role is Role.ACTIVATION:
                self.constants[name] = quantize(scores.constant(name), self.params[name])

    def _typed_constants(self, graph: Graph) -> Graph:
        tensors = dict(graph.tensors)
        for name, form in self.constraints.qdq.forms.items():
            stored = form.spec.dtype
            unchanged = isinstance(form.spec, Derived) and name not in self.params
            tensors[name] = tensors[name] if unchanged else TensorType(tensors[name].shape, stored)
        return replace(graph, tensors=tensors, constants=self.constants)


def _is_weight(node: Node, index: int) -> bool:
    return node.op.role(index) is Role.WEIGHT
