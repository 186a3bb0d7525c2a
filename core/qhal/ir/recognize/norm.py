"""LayerNorm in the forms that exporters write."""

from __future__ import annotations

import numpy as np

from qhal.ir import ops
from qhal.ir.graph import Node
from qhal.ir.recognize.rewrite import Matcher, New, Replacement, Rules


def _layer_norm(graph: Matcher, node: Node) -> Replacement | None:
    """Match ``d / sqrt(mean(d * d) + epsilon)`` with ``d = x - mean(x)``; a scale follows later.

    The division may also be a product with a reciprocal, and ``d`` may be computed twice.
    """
    for top, bottom in _quotients(graph, node):
        inner = _centered(graph, top)
        spread = _variance(graph, bottom[-1].inputs[0]) if bottom else None
        if inner is None or spread is None:
            continue
        x, axis, mean_nodes = inner
        epsilon, centered, square_nodes = spread
        other = _centered(graph, centered)
        if other is None or other[:2] != (x, axis) or _last_axes(graph, square_nodes[1]) != axis:
            continue
        nodes = dict.fromkeys([*bottom, *square_nodes, *mean_nodes, *other[2]])
        covered = tuple(n for n in nodes if n is not node)
        scale = np.ones(graph.type(x).shape[axis:], np.float32)
        new = New(f"{node.outputs[0]}/scale", scale)
        return Replacement(ops.LayerNorm(axis, epsilon), (x, new), covered)
    return None


def _quotients(graph: Matcher, node: Node) -> list[tuple[str, list[Node]]]:
    """Read a node as ``top / sqrt(...)`` in each way: the top, and the nodes down to the root."""
    a, b = node.inputs[:2]
    if isinstance(node.op, ops.Div):
        root = _function(graph, b, "Sqrt")
        return [(a, [root])] if root else []
    readings = []
    for top, factor in ((a, b), (b, a)):
        inverse = _function(graph, factor, "Rsqrt")
        outer = _function(graph, factor, "Reciprocal")
        root = _function(graph, outer.inputs[0], "Sqrt") if outer else None
        if inverse:
            readings.append((top, [inverse]))
        elif outer and root:
            readings.append((top, [outer, root]))
    return readings


def _function(graph: Matcher, name: str, function: str) -> Node | None:
    node = graph.maker(name, ops.Unary)
    return node if node is not None and node.op == ops.Unary(function) else None


def _centered(graph: Matcher, name: str) -> tuple[str, int, tuple[Node, ...]] | None:
    """Match ``x - mean(x)`` over the last dimensions: ``x``, the first of them, the nodes."""
    difference = graph.maker(name, ops.Sub)
    mean = graph.maker(difference.inputs[1], ops.Reduce) if difference else None
    if difference is None or mean is None or mean.inputs[0] != difference.inputs[0]:
        return None
    axis = _last_axes(graph, mean)
    return None if axis is None else (mean.inputs[0], axis, (difference, mean))


def _last_axes(graph: Matcher, mean: Node) -> int | None:
    """Return the first axis of a mean over all dimensions from there on."""
    op, rank = mean.op, len(graph.type(mean.inputs[0]).shape)
    if not isinstance(op, ops.Reduce) or op.function != "Mean" or not op.keepdims:
        return None
    return op.axes[0] if op.axes == tuple(range(op.axes[0], rank)) else None


def _variance(graph: Matcher, name: str) -> tuple[float, str, list[Node]] | None:
    """Match ``mean(d * d) + epsilon``: epsilon, ``d`` and the nodes: sum, mean and square."""
    total = graph.maker(name, ops.Add)
    parts = graph.split_scalar(total) if total else None
    mean = graph.maker(parts[0], ops.Reduce) if parts else None
    square = graph.maker(mean.inputs[0], ops.Mul) if mean else None
    if total is None or parts is None or mean is None or square is None:
        return None
    if square.inputs[0] != square.inputs[1]:
        return None
    return parts[1], square.inputs[0], [total, mean, square]


NORM_RULES: Rules = {ops.Div: (_layer_norm,), ops.Mul: (_layer_norm,)}
