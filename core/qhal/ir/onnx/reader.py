"""The walk over an ONNX graph that emits the canonical one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy as np
import onnx_ir as ir

from qhal.decisions import Code, Decision, Severity
from qhal.errors import ModelInvalidError, ModelShapeError
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Graph, Shapes
from qhal.ir.onnx.arity import check_arity
from qhal.ir.onnx.bind import bind_inputs
from qhal.ir.onnx.call import ImportCall, Unsupported, node_name
from qhal.ir.onnx.fold import fold
from qhal.ir.onnx.load import ModelSource
from qhal.ir.onnx.opaque import check_float, expansion, opaque
from qhal.ir.onnx.scope import Scope
from qhal.ir.onnx.table import TABLE
from qhal.ir.onnx.unroll import unrolled_loop, unrolled_scan

MOST_ELEMENTS = (1 << 31) - 1
"""Of a tensor; runtimes count elements in 32 bits."""

_LOOPS = {"Loop": unrolled_loop, "Scan": unrolled_scan}

_INVALID = (ValueError, TypeError, KeyError, IndexError, OverflowError, ZeroDivisionError)
"""What a mapping runs into when a node's attributes or operands make no sense."""


def read(source: ModelSource, shapes: Shapes) -> tuple[Graph, tuple[Decision, ...]]:
    """Read the canonical graph of a model, before patterns are recognized.

    Raises:
        ModelShapeError: a dimension is free or does not fit.
        ModelInvalidError: a node makes no sense, or no graph of tensors can be made of it.
        ModelWeightsError: a weight is missing, or holds NaN or Inf.
    """
    graph = source.model.graph
    inputs = [v for v in graph.inputs if v.const_value is None]
    _check_distinct(inputs)
    bound = bind_inputs(inputs, shapes)
    builder = GraphBuilder(graph.name or "model")
    opsets = {"" if d == "ai.onnx" else d: v for d, v in source.model.opset_imports.items()}
    scope = Scope(builder, source.weights, opsets, bound.sizes, _names(graph))
    for value in inputs:
        name = scope.name_of(value)
        scope.set_tensor(value, builder.input(name, bound.types[name]))
    reader = _GraphReader(scope)
    reader.walk(graph)
    _check_sizes(builder)
    return _finish(scope, graph.outputs), (*bound.decisions, *reader.decisions)


def _check_sizes(builder: GraphBuilder) -> None:
    """Refuse tensors that no runtime can address.

    Raises:
        ModelShapeError: naming the tensor.
    """
    for node in builder.nodes:
        for name in filter(None, node.outputs):
            found = builder.type(name)
            overflown = min(found.shape, default=0) < 0
            if overflown or prod(max(size, 1) for size in found.shape) > MOST_ELEMENTS:
                raise ModelShapeError(
                    f"Tensor {name!r}, made by node {node.name!r}, would be {found}, which is "
                    f"beyond the {MOST_ELEMENTS:,} elements that a tensor may have.",
                    "Check the shapes and sizes in the model; no target takes that many.",
                )


def _names(graph: ir.Graph) -> frozenset[str]:
    """Return the names of all tensors of the user's model."""
    made = (value.name for node in graph.all_nodes() for value in node.outputs)
    return frozenset(str(n) for n in (*made, *graph.initializers, *(v.name for v in graph.inputs)))


def _check_distinct(inputs: Sequence[ir.Value]) -> None:
    names = Counter(value.name for value in inputs)
    for name, count in names.items():
        if count > 1:
            raise ModelInvalidError(
                f"The model has {count} inputs called {name!r}.", "Give each a name of its own."
            )


class _GraphReader:
    """Reads nodes into a scope and collects decisions."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.decisions: list[Decision] = []

    def walk(self, graph: ir.Graph) -> None:
        """Read all nodes of a graph, in order."""
        for node in graph:
            try:
                self._read(node)
            except _INVALID as error:
                raise ModelInvalidError(
                    f"Node {node_name(node)!r} ({node.op_type}) is not valid: "
                    f"{str(error).rstrip('.')}.",
                    "onnx.checker.check_model(path, full_check=True) may say more.",
                ) from error

    def _read(self, node: ir.Node) -> None:
        if node.domain == "ai.onnx":
            node.domain = ""
        call = ImportCall(node, self._scope)
        _check_typed(node)
        check_arity(call)
        _name_outputs(call)
        constants = fold(call)
        if constants is not None:
            for value, constant in zip(node.outputs, constants, strict=False):
                self._scope.set_constant(value, constant)
            return
        check_float(call)
        for value, name in zip(node.outputs, self._emit(call), strict=False):
            if name:
                self._set(value, name)

    def _set(self, value: ir.Value, name: str) -> None:
        """Record what a node makes; a tensor without elements is the same for every input."""
        found = self._scope.builder.type(name)
        if found.elements:
            self._scope.set_tensor(value, name)
        else:
            self._scope.set_constant(value, np.zeros(found.shape, found.dtype.numpy))

    def _emit(self, call: ImportCall) -> Sequence[str]:
        """Emit a node and return the tensors of its outputs."""
        if (call.node.domain, call.kind) == ("", "If"):
            condition = call.constant(0)
            if condition is not None:
                return self._branch(call, bool(condition.reshape(())))
        mapper = TABLE.get((call.node.domain, call.kind))
        reason = f"{call.kind} has no canonical form"
        try:
            if call.node.domain == "" and call.kind in _LOOPS:
                return self._unroll(call)
            if mapper is not None:
                _check_dropped(call)
                made = mapper(call)
                return (made,) if isinstance(made, str) else made
        except Unsupported as verdict:
            reason = f"{call.kind} has no canonical form here: {verdict}"
        body = expansion(call)
        if body is not None:
            return self._inline(call, body)
        return self._opaque(call, reason)

    def _opaque(self, call: ImportCall, reason: str) -> Sequence[str]:
        made = opaque(call, reason)
        sentence = f"{call.name!r} stays as it is, in float: {reason}"
        self.decisions.append(Decision(Code.OPAQUE, sentence, call.name, Severity.WARNING))
        return made

    def _branch(self, call: ImportCall, condition: bool) -> Sequence[str]:
        """Emit the branch of an If whose condition is constant."""
        attribute = call.attribute("then_branch" if condition else "else_branch")
        if attribute is None:
            raise ValueError("a branch is missing")
        graph = attribute.as_graph()
        self.walk(graph)
        return [self._scope.tensor(value) for value in graph.outputs]

    def _unroll(self, call: ImportCall) -> Sequence[str]:
        """Emit the body of a loop as often as it runs; decide nothing where it cannot be."""
        before = len(self.decisions)
        try:
            made = _LOOPS[call.kind](call, self.walk)
        except Unsupported:
            del self.decisions[before:]
            raise
        times = "once" if made.count == 1 else f"{made.count} times"
        sentence = f"{call.kind} {call.name!r} was unrolled: its body runs {times}."
        self.decisions.append(Decision(Code.UNROLLED, sentence, call.name))
        return made.outputs

    def _inline(self, call: ImportCall, body: ir.Graph) -> Sequence[str]:
        """Emit the body of an operator that ONNX defines by others."""
        operands = {str(v.name): v for v in call.node.inputs if v is not None}
        for value in body.inputs:
            outer = operands[str(value.name)]
            constant = self._scope.constant(outer)
            if constant is not None:
                self._scope.set_constant(value, constant)
            else:
                self._scope.set_tensor(value, self._scope.tensor(outer))
        kept = set(body.outputs)
        for node in body:
            node.name = call.name
            for value in node.outputs:
                if value.name and value not in kept:
                    value.name = f"{call.name}/{value.name}"
        self.walk(body)
        made = {str(v.name): self._scope.tensor(v) for v in body.outputs}
        return [made.get(str(value.name), "") for value in call.node.outputs]


def _check_typed(node: ir.Node) -> None:
    """Refuse an attribute without a type: what its value is, nobody can tell."""
    for attribute in node.attributes.values():
        if attribute.type is ir.AttributeType.UNDEFINED:
            raise ValueError(f"its attribute {attribute.name!r} has no type")


def _name_outputs(call: ImportCall) -> None:
    """Name outputs that the user left out in front of others, so that all tensors have names."""
    outputs = call.node.outputs
    named = [i for i, value in enumerate(outputs) if value.name]
    for i, value in enumerate(outputs[: max(named, default=0)]):
        if not value.name:
            value.name = call.scope.fresh(f"{call.name}/{i}")


def _check_dropped(call: ImportCall) -> None:
    """Refuse a used mask or training mode; otherwise Dropout does nothing at inference."""
    if call.kind == "Dropout" and call.used(1):
        raise Unsupported("its mask is used")
    if call.kind == "Dropout" and call.has(2) and call.need(2, "training mode").any():
        raise Unsupported("it is in training mode")


# --- outputs --------------------------------------------------------------------


def _finish(scope: Scope, outputs: Sequence[ir.Value]) -> Graph:
    """Build the graph, its outputs under the user's names.

    An output may be the tensor that an Identity (or another operator that does nothing)
    reads: that tensor then gets the output's name. Inputs, constants and tensors that are
    outputs already are copied by a Reshape to their own shape. An output that is listed twice
    is one.

    Raises:
        ModelShapeError: an output has no elements.
    """
    outputs = list({str(v.name): v for v in outputs}.values())
    builder, wanted = scope.builder, [str(v.name) for v in outputs]
    made = {name for node in builder.nodes for name in node.outputs}
    renamed: dict[str, str] = {}
    found = []
    for value, want in zip(outputs, wanted, strict=True):
        name = scope.tensor(value)
        if not builder.type(name).elements:
            raise ModelShapeError(
                f"Output {want!r} has no elements: it is {builder.type(name)}.",
                "Cut that output off the model.",
            )
        if name != want or builder.value(name) is not None:
            if name not in made or name in renamed or name in wanted:
                copy = ops.Reshape(builder.type(name).shape)
                name = builder.one(copy, [name], name=want, output=scope.fresh(want))
            renamed[name] = want
        found.append(name)
    renamed |= {want: scope.fresh(want) for want in renamed.values() if want not in found}
    return _rename(builder.build(outputs=found), renamed)


def _rename(graph: Graph, renamed: Mapping[str, str]) -> Graph:
    """Rename the tensors of a graph."""
    if not renamed:
        return graph

    def new(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(renamed.get(name, name) for name in names)

    nodes = [replace(n, inputs=new(n.inputs), outputs=new(n.outputs)) for n in graph.nodes]
    return replace(
        graph,
        nodes=tuple(nodes),
        outputs=new(graph.outputs),
        tensors={renamed.get(k, k): v for k, v in graph.tensors.items()},
        constants={renamed.get(k, k): v for k, v in graph.constants.items()},
    )
