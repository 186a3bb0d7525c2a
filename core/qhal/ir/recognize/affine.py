"""Fold multiplications and additions of constants into the weights before them.

This folds BatchNorm (which is imported as one of each), biases that are added behind a
convolution or a matrix product, and scale and bias of a recognized LayerNorm.
"""

from __future__ import annotations

from math import prod

import numpy as np

from qhal.ir import ops
from qhal.ir.graph import Node
from qhal.ir.ops import Ints, Op
from qhal.ir.recognize.rewrite import (
    FloatArray,
    InnerOp,
    Matcher,
    New,
    NewOperands,
    Replacement,
    Rules,
)

_WEIGHTED = (ops.Conv, ops.DepthwiseConv, ops.ConvTranspose, ops.FullyConnected)


def _fold_scale(graph: Matcher, node: Node) -> Replacement | None:
    """Fold ``y * c`` with ``y`` of a weighted operator into its weight and bias."""
    found = _before(graph, node)
    if found is None:
        return None
    before, value = found
    factor = _per_channel(graph, before, value)
    weight = graph.constant(before.inputs[1])
    if factor is None or weight is None:
        return None
    scaled = _scaled(before, weight, factor)
    if not np.isfinite(scaled).all():
        return None
    inputs: NewOperands = (before.inputs[0], New(before.inputs[1], scaled))
    bias = _bias(graph, before)
    if bias is not None:
        inputs += (New(before.inputs[2], bias * factor),)
    return Replacement(before.op, inputs, (before,))


def _fold_shift(graph: Matcher, node: Node) -> Replacement | None:
    """Fold ``y + c`` with ``y`` of a weighted operator into its bias."""
    found = _before(graph, node)
    if found is None:
        return None
    before, value = found
    shift = _per_channel(graph, before, value)
    if shift is None:
        return None
    bias = _bias(graph, before)
    total = shift if bias is None else bias + shift
    new = New(f"{before.inputs[1]}/bias" if bias is None else before.inputs[2], total)
    return Replacement(before.op, (*before.inputs[:2], new), (before,))


def _before(graph: Matcher, node: Node) -> tuple[Node, FloatArray] | None:
    """Find the weighted operator before a node with a constant operand, and the constant."""
    parts = graph.split(node)
    before = graph.maker(parts[0]) if parts else None
    if parts is None or before is None or not isinstance(before.op, _WEIGHTED):
        return None
    return before, parts[1]


def _bias(graph: Matcher, node: Node) -> FloatArray | None:
    return graph.constant(node.inputs[2]) if len(node.inputs) > 2 else None


def _per_channel(graph: Matcher, node: Node, value: FloatArray) -> FloatArray | None:
    """Return the constant as one number per output channel, if that is what it is."""
    shape = graph.type(node.outputs[0]).shape
    axis = len(shape) - 1 if isinstance(node.op, ops.FullyConnected) else 1
    padded = (1,) * (len(shape) - value.ndim) + value.shape
    if prod(padded) != padded[axis]:
        return None
    return np.broadcast_to(value.reshape(-1), (shape[axis],))


def _scaled(node: Node, weight: FloatArray, factor: FloatArray) -> FloatArray:
    """Multiply every output channel of the weight by its factor."""
    ones: Ints = (1,) * (weight.ndim - 1)
    if not isinstance(node.op, ops.ConvTranspose):
        return weight * factor.reshape(-1, *ones)
    groups = node.op.groups
    parts = weight.reshape(groups, -1, *weight.shape[1:])
    return (parts * factor.reshape(groups, 1, -1, *ones[1:])).reshape(weight.shape)


# --- chains of constants ----------------------------------------------------------


def _scale_scaled(graph: Matcher, node: Node) -> Replacement | None:
    """Rewrite ``(x * a) * c`` as ``x * (a * c)``."""
    found = _chain(graph, node, ops.Mul)
    if found is None:
        return None
    before, x, inner, outer = found
    return Replacement(ops.Mul(), (x, New(f"{node.outputs[0]}/scale", inner * outer)), (before,))


def _shift_shifted(graph: Matcher, node: Node) -> Replacement | None:
    """Rewrite ``(x + a) + c`` as ``x + (a + c)``."""
    found = _chain(graph, node, ops.Add)
    if found is None:
        return None
    before, x, inner, outer = found
    return Replacement(ops.Add(), (x, New(f"{node.outputs[0]}/shift", inner + outer)), (before,))


def _scale_shifted(graph: Matcher, node: Node) -> Replacement | None:
    """Rewrite ``(x * s + a) * c`` as ``x * s * c + a * c``; ``s * c`` is one constant."""
    found = _chain(graph, node, ops.Add)
    if found is None:
        return None
    before, x, inner, outer = found
    scaled = graph.maker(x, ops.Mul)
    if scaled is None or graph.split(scaled) is None or graph.uses(x) != 1:
        return None
    scaled_x = InnerOp(ops.Mul(), (x, New(f"{node.outputs[0]}/scale", outer)))
    return Replacement(
        ops.Add(), (scaled_x, New(f"{node.outputs[0]}/shift", inner * outer)), (before,)
    )


_Chain = tuple[Node, str, FloatArray, FloatArray]


def _chain(graph: Matcher, node: Node, kind: type[Op]) -> _Chain | None:
    """Find the node before, its variable operand, its constant, and the constant of ``node``."""
    parts = graph.split(node)
    before = graph.maker(parts[0], kind) if parts else None
    inner = graph.split(before) if before else None
    if parts is None or before is None or inner is None:
        return None
    return before, inner[0], inner[1], parts[1]


# --- LayerNorm ------------------------------------------------------------------


def _norm_before(graph: Matcher, node: Node) -> tuple[Node, FloatArray] | None:
    """Find the LayerNorm before a node, and its constant as an array of the normalized shape."""
    parts = graph.split(node)
    before = graph.maker(parts[0], ops.LayerNorm) if parts else None
    if parts is None or before is None or not isinstance(before.op, ops.LayerNorm):
        return None
    inner, value = graph.type(before.outputs[0]).shape[before.op.axis :], parts[1]
    if prod(value.shape[: -len(inner)]) != 1:
        return None
    return before, np.broadcast_to(value.reshape(value.shape[-len(inner) :]), inner)


def _norm_scale(graph: Matcher, node: Node) -> Replacement | None:
    """Fold ``norm(x) * c`` with a constant for every normalized element."""
    found = _norm_before(graph, node)
    scale = graph.constant(found[0].inputs[1]) if found else None
    if found is None or scale is None:
        return None
    before, factor = found
    inputs: NewOperands = (before.inputs[0], New(before.inputs[1], scale * factor))
    bias = _bias(graph, before)
    if bias is not None:
        inputs += (New(before.inputs[2], bias * factor),)
    return Replacement(before.op, inputs, (before,))


def _norm_shift(graph: Matcher, node: Node) -> Replacement | None:
    """Fold ``norm(x) + c`` with a constant for every normalized element."""
    found = _norm_before(graph, node)
    if found is None:
        return None
    before, shift = found
    bias = _bias(graph, before)
    total = shift if bias is None else bias + shift
    new = New(f"{before.outputs[0]}/bias", np.ascontiguousarray(total))
    return Replacement(before.op, (*before.inputs[:2], new), (before,))


AFFINE_RULES: Rules = {
    ops.Mul: (_fold_scale, _norm_scale, _scale_scaled, _scale_shifted),
    ops.Add: (_fold_shift, _norm_shift, _shift_shifted),
}
