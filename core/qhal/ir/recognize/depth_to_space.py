"""Recognize DepthToSpace and SpaceToDepth written as Reshape, Transpose, Reshape."""

from __future__ import annotations

from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Graph, Node
from qhal.ir.ops import Ints, Op

_CRD = (0, 1, 4, 2, 5, 3)
_DCR = (0, 3, 4, 1, 5, 2)
_TO_DEPTH = (0, 3, 5, 1, 2, 4)


def recognize_depth_to_space(graph: Graph) -> Graph:
    """Replace the last Reshape of each such chain by one operator on the chain's operand."""
    found = {node.name: new for node in graph.nodes if (new := _block_node(graph, node))}
    if not found:
        return graph
    builder = GraphBuilder(start=graph)
    for node in graph.nodes:
        builder.emit(found.get(node.name, node))
    return builder.build()


def _block_node(graph: Graph, last: Node) -> Node | None:
    """Return a DepthToSpace or SpaceToDepth in place of ``last``, if a chain ends there."""
    middle = graph.producers.get(last.inputs[0]) if isinstance(last.op, ops.Reshape) else None
    if middle is None or not isinstance(middle.op, ops.Transpose):
        return None
    first = graph.producers.get(middle.inputs[0])
    if first is None or not isinstance(first.op, ops.Reshape):
        return None
    before, after = (graph.tensors[name].shape for name in (first.inputs[0], last.outputs[0]))
    op = _block_op(before, first.op.shape, middle.op.perm, after)
    if op is None:
        return None
    origin = tuple(dict.fromkeys((*first.origin, *middle.origin, *last.origin)))
    return Node(last.name, op, first.inputs, last.outputs, origin)


def _block_op(before: Ints, inner: Ints, perm: Ints, after: Ints) -> Op | None:
    """Return the operator that the three nodes are; None if they are none."""
    if len(before) != 4 or len(inner) != 6 or len(after) != 4:
        return None
    n, c, h, w = before
    block = inner[2] if perm in (_CRD, _DCR) else inner[3]
    rest = c // block**2
    if perm == _CRD and inner == (n, rest, block, block, h, w):
        op: Op = ops.DepthToSpace(block, "CRD")
    elif perm == _DCR and inner == (n, block, block, rest, h, w):
        op = ops.DepthToSpace(block, "DCR")
    elif perm == _TO_DEPTH and inner == (n, c, h // block, block, w // block, block):
        op = ops.SpaceToDepth(block)
    else:
        return None
    return op if after == _block_shape(op, before) else None


def _block_shape(op: Op, shape: Ints) -> Ints:
    n, c, h, w = shape
    if isinstance(op, ops.DepthToSpace):
        return n, c // op.block**2, h * op.block, w * op.block
    assert isinstance(op, ops.SpaceToDepth)
    return n, c * op.block**2, h // op.block, w // op.block
