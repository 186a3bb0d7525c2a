"""Remove data movement that moves nothing, and join what can be one node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import inf

from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Graph, Node, NodeView
from qhal.ir.ops import Ints, Layout, Op

_MAX_ROUNDS = 8
_LOWEST = -3.0e38  # what models pad a maximum with, if not with minus infinity


def simplify(graph: Graph) -> Graph:
    """Join chains of Reshape and Transpose, fold Pad into windows, drop what does nothing.

    Names of inputs and outputs stay; values are exactly the same.
    """
    for _ in range(_MAX_ROUNDS):
        joined = drop_idle(_joined(graph))
        if [n.op for n in joined.nodes] == [n.op for n in graph.nodes]:
            return joined
        graph = joined
    return graph


# --- nodes that do nothing ----------------------------------------------------


def drop_idle(graph: Graph) -> Graph:
    """Remove nodes whose only output equals their first operand."""
    names = _Aliases(graph)
    kept = [n for n in graph.nodes if not (_is_idle(graph, n) and names.merge(n))]
    if len(kept) == len(graph.nodes):
        return graph
    builder = GraphBuilder(start=graph)
    for node in kept:
        builder.emit(names.applied(node))
    return builder.build()


class _Aliases:
    """Which name each tensor goes by after idle nodes are gone."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._names: dict[str, str] = {}

    def resolve(self, name: str) -> str:
        while name in self._names:
            name = self._names[name]
        return name

    def merge(self, node: Node) -> bool:
        """Let operand and output of an idle node be one tensor; False if both names must stay."""
        source, output = self.resolve(node.inputs[0]), node.outputs[0]
        if output not in self._graph.outputs:
            self._names[output] = source
            return True
        if source in self._graph.outputs or source not in self._graph.producers:
            return False
        self._names[source] = output
        return True

    def applied(self, node: Node) -> Node:
        inputs, outputs = (tuple(map(self.resolve, names)) for names in (node.inputs, node.outputs))
        return replace(node, inputs=inputs, outputs=outputs)


def _is_idle(graph: Graph, node: Node) -> bool:
    if isinstance(node.op, ops.Opaque) or not node.inputs or len(node.outputs) != 1:
        return False
    before, after = graph.tensors[node.inputs[0]], graph.tensors[node.outputs[0]]
    return before == after and _changes_nothing(node.op, after.shape)


def _changes_nothing(op: Op, shape: Ints) -> bool:
    """Return True if ``op`` returns its operand when shape and element type stay the same."""
    match op:
        case ops.Reshape() | ops.Expand() | ops.Tile() | ops.Cast() | ops.Concat() | ops.Split():
            return True
        case ops.Transpose(perm):
            return list(perm) == sorted(perm)
        case ops.Slice(steps=steps):
            return all(stride > 0 for stride in steps)
        case ops.Pad(pads):
            return not any(pads)
        case _:
            return False


# --- chains -------------------------------------------------------------------


def _joined(graph: Graph) -> Graph:
    builder = GraphBuilder(start=graph)
    makers: dict[str, Node] = {}
    for node in graph.nodes:
        new = _as_reshape(graph, _join(graph, node, makers))
        builder.emit(new)
        makers.update(dict.fromkeys(new.outputs, new))
    return builder.build()


def _join(graph: Graph, node: Node, makers: Mapping[str, Node]) -> Node:
    """Return the node without the one before it, if it can do the work of both."""
    before = makers.get(node.inputs[0]) if node.inputs else None
    if before is None:
        return node
    match before.op, node.op:
        case ops.Reshape(), ops.Reshape():
            return _after(before, node, node.op)
        case ops.Cast(), ops.Cast() if _holds(graph, before):
            return _after(before, node, node.op)
        case ops.Transpose(first), ops.Transpose(second):
            return _after(before, node, ops.Transpose(tuple(first[i] for i in second)))
        case ops.Pad(), (ops.Conv() | ops.DepthwiseConv() | ops.AveragePool() | ops.MaxPool()):
            return _without_pad(graph, before, node)
    return node


def _holds(graph: Graph, cast: Node) -> bool:
    """Return True for a Cast of integers or booleans whose type holds every value of theirs."""
    source, made = (graph.tensors[name].dtype for name in (cast.inputs[0], cast.outputs[0]))
    if source is DType.BOOL:
        return True
    if not (source.is_integer and made.is_integer):
        return False
    return made.qmin <= source.qmin and source.qmax <= made.qmax


def _after(before: Node, node: Node, op: Op) -> Node:
    origin = tuple(dict.fromkeys((*before.origin, *node.origin)))
    return replace(node, op=op, inputs=(before.inputs[0], *node.inputs[1:]), origin=origin)


def _as_reshape(graph: Graph, node: Node) -> Node:
    """Write a Transpose that only moves dimensions of size 1 as a Reshape: it moves no data."""
    if not isinstance(node.op, ops.Transpose):
        return node
    shape = tuple(graph.tensors[node.outputs[0]].shape)
    moved = [axis for axis, size in zip(node.op.perm, shape, strict=True) if size > 1]
    return replace(node, op=ops.Reshape(shape)) if moved == sorted(moved) else node


# --- means --------------------------------------------------------------------


def pools_as_means(graph: Graph) -> Graph:
    """Write averages over the whole image as means, which may rescale where a pool may not."""
    builder = GraphBuilder(start=graph)
    for node in graph.nodes:
        builder.emit(_as_mean(graph, node))
    return builder.build()


def _as_mean(graph: Graph, node: Node) -> Node:
    op = node.op
    if not isinstance(op, ops.AveragePool) or op.layout is not Layout.NCHW or any(op.pads):
        return node
    if op.kernel != graph.tensors[node.inputs[0]].shape[2:]:
        return node
    return replace(node, op=ops.Reduce("Mean", tuple(range(2, 2 + len(op.kernel)))))


# --- pads ---------------------------------------------------------------------


def _without_pad(graph: Graph, pad: Node, node: Node) -> Node:
    """Give a window the zeros (or lowest values) of an explicit Pad as its own padding."""
    if not isinstance(pad.op, ops.Pad) or pad.op.mode != "constant":
        return node
    layout: Layout = getattr(node.op, "layout", Layout.NCHW)
    added = _spatial_pads(pad.op.pads, len(graph.tensors[pad.inputs[0]].shape), layout)
    if added is None:
        return node
    match node.op:
        case ops.Conv() | ops.DepthwiseConv() if pad.op.value == 0:
            return _after(pad, node, replace(node.op, pads=_sum(node.op.pads, added)))
        case ops.AveragePool() if pad.op.value == 0 and _counts_all(node.op):
            merged = replace(node.op, pads=_sum(node.op.pads, added), count_include_pad=True)
            return _after(pad, node, merged)
        case ops.MaxPool() if _never_wins(graph, pad, pad.op.value) and _fits(node.op, added):
            return _after(pad, node, replace(node.op, pads=_sum(node.op.pads, added)))
    return node


def _spatial_pads(pads: Ints, rank: int, layout: Layout) -> Ints | None:
    """Return the spatial part of pads; None if other axes are padded or any pad is negative."""
    channel = layout.channel_axis(rank)
    others = [pads[axis + side] for axis in (0, channel) for side in (0, rank)]
    if any(others) or min(pads) < 0:
        return None
    spatial = [axis for axis in range(1, rank) if axis != channel]
    return tuple(pads[axis + side] for side in (0, rank) for axis in spatial)


def _sum(a: Iterable[int], b: Iterable[int]) -> Ints:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _counts_all(op: ops.AveragePool) -> bool:
    return op.count_include_pad or not any(op.pads)


def _fits(op: ops.MaxPool, added: Ints) -> bool:
    """Return True if every window sees an element, as ONNX wants it: pads below the kernel size."""
    return all(pad < size for pad, size in zip(_sum(op.pads, added), op.kernel * 2, strict=True))


def _never_wins(graph: Graph, pad: Node, value: float) -> bool:
    """Return True if padding never exceeds an element: it is the lowest, or all are >= 0."""
    if value == -inf or value <= _LOWEST:
        return True
    maker = graph.producers.get(pad.inputs[0])
    return value == 0 and maker is not None and is_nonnegative(NodeView(graph, maker))


def is_nonnegative(view: NodeView) -> bool:
    """Return True if no result of the node is below zero."""
    return view.op.traits.nonnegative or view.op.fused is not ops.Activation.NONE
