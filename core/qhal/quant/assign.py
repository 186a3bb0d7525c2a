"""Constraints + statistics -> quantization parameters and integer constants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from qhal.quant.repair import FittingSite, Refit, Streams, open_streams
from qhal.quant.scores import AttentionScores
from qhal.quant.weights import WeightTask, can_fit, quantize_weights
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
    refit: Refit | None = None,
) -> Assignment:
    """Give every tensor its parameters and every constant its stored form.

    Args:
        constraints: from :func:`qhal.quant.constraints.constrain`.
        stats: statistics of at least ``constraints.to_observe``, by tensor of the float graph.
        observer: name of the range estimator: minmax, percentile or mse.
        element_order: flattened tensors whose elements the layout permuted, with
            ``here.flat = there.flat[order]``.
        refit: what weights of few bits are fitted to; None rounds them as they are.
    """
    return _Assigner(constraints, stats, observer, element_order or {}, refit).run()


@dataclass
class _Assigner:
    constraints: Constraints
    stats: Mapping[str, TensorStats]
    observer: str
    element_order: Mapping[str, npt.NDArray[np.intp]]
    refit: Refit | None
    params: dict[str, QuantParams] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)

    def run(self) -> Assignment:
        qdq = self.constraints.qdq
        self.constants = dict(qdq.graph.constants)
        planned = plan_activations(self.constraints, self.stats, self.observer)
        self.params.update(planned.params)
        self.decisions.extend(planned.decisions)
        with self._streams() as streams:
            for node in qdq.graph.nodes:
                self._assign_weights(node, streams)
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

    @contextmanager
    def _streams(self) -> Iterator[Streams | None]:
        """Open what layers are fitted to, if any has weights of few bits."""
        rows = [choice.row for choice in self.constraints.choices.values()]
        specs = [row.weight for row in rows if row is not None and row.weight is not None]
        few = any(can_fit(spec) and spec.few for spec in specs)
        if self.refit is None or not few:
            yield None
            return
        with open_streams(self.refit, self._observed_params(self.refit)) as streams:
            yield streams

    def _observed_params(self, refit: Refit) -> dict[str, QuantParams]:
        """Map tensors of the float graph to the parameters that their own producer gives them."""
        found: dict[str, QuantParams] = {}
        for name, observed in self.constraints.qdq.observed.items():
            if name in self.params:
                found.setdefault(refit.sources.get(observed, observed), self.params[name])
        return found

    def _assign_weights(self, node: Node, streams: Streams | None) -> None:
        forms = self.constraints.qdq.forms
        layer = not isinstance(node.op, Lstm | Gru | Rnn) and len(node.inputs) > 1
        spec = forms[node.inputs[1]].spec if layer and node.inputs[1] in forms else None
        if layer and _is_weight(node, 1) and isinstance(spec, QuantSpec) and spec.coarse:
            self._store_weights(node, spec, streams)
            return
        for index, name in enumerate(node.inputs):
            if name in forms and node.op.role(index) is not Role.ACTIVATION:
                self._store_plain(node, name, forms[name])

    def _store_weights(self, node: Node, spec: QuantSpec, streams: Streams | None) -> None:
        qdq = self.constraints.qdq
        site = None if streams is None else FittingSite.of(streams, node.name, self._order(node))
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
                seen=None if streams is None or site is None else site.look(streams),
            )
        )
        if streams is not None and site is not None:
            site.store(streams, node.op, *result.real)
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

    def _order(self, node: Node) -> npt.NDArray[np.intp] | None:
        """Return how the layout shuffled the last dimension of a layer's operand, if it did."""
        return self.element_order.get(self.constraints.qdq.observed.get(node.inputs[0], ""))

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
        found, order = kept.get(str(field)), self._order(node)
        if found is None or order is None:
            return found
        return found[:, order][:, :, order]

    # --- constants ---

    def _store_activation_constants(self) -> None:
        scores = AttentionScores.of(self.constraints.qdq.graph)
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
