"""Fold multiplications and additions of constants into the weights before them.

This folds BatchNorm (which is imported as one of each), biases that are added behind a
convolution or a matrix product, and scale and bias of a recognised LayerNorm.
"""

from __future__ import annotations

from math import prod

import numpy as np

from qhal.ir import ops
from qhal.ir.graph import Array, Node
from qhal.ir.ops import Ints
from qhal.ir.recognise.rewrite import FloatArray, Found, Matcher, New, Rules

_WEIGHTED = (ops.Conv, ops.DepthwiseConv, ops.ConvTranspose, ops.FullyConnected)


def _fold_scale(graph: Matcher, node: Node) -> Found | None:
    """``y * c`` with ``y`` of a weighted operator: a scaled weight and bias."""
    found = _before(graph, node)
    if found is None:
        return None
    before, value = found
    factor = _per_channel(graph, before, value)
    weight = graph.constant(before.inputs[1])
    if factor is None or weight is None:
        return None
    scaled = New(before.inputs[1], _scale_weight(before, weight, factor))
    inputs: tuple[str | New, ...] = (before.inputs[0], scaled)
    bias = _bias(graph, before)
    if bias is not None:
        inputs += (New(before.inputs[2], (bias * factor).astype(np.float32)),)
    return Found(before.op, inputs, (before,))


def _fold_shift(graph: Matcher, node: Node) -> Found | None:
    """``y + c`` with ``y`` of a weighted operator: a bias."""
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
    return Found(before.op, (*before.inputs[:2], new), (before,))


def _before(graph: Matcher, node: Node) -> tuple[Node, Array] | None:
    """The weighted operator before a node with a constant operand, and the constant."""
    parts = graph.split(node)
    before = graph.maker(parts[0]) if parts else None
    if parts is None or before is None or not isinstance(before.op, _WEIGHTED):
        return None
    if graph.type(parts[0]) != graph.type(node.outputs[0]):
        return None
    return before, parts[1]


def _bias(graph: Matcher, node: Node) -> FloatArray | None:
    if len(node.inputs) < 3 or not node.inputs[2]:
        return None
    value = graph.constant(node.inputs[2])
    return None if value is None else value.astype(np.float32)


def _per_channel(graph: Matcher, node: Node, value: Array) -> FloatArray | None:
    """The constant as one number per output channel, if that is what it is."""
    shape = graph.type(node.outputs[0]).shape
    axis = len(shape) - 1 if isinstance(node.op, ops.FullyConnected) else 1
    padded = (1,) * (len(shape) - value.ndim) + value.shape
    if prod(padded) != padded[axis] or value.dtype.kind != "f":
        return None
    return np.broadcast_to(value.reshape(-1), (shape[axis],)).astype(np.float32)


def _scale_weight(node: Node, weight: Array, factor: FloatArray) -> Array:
    """The weight with every output channel multiplied by its factor."""
    ones: Ints = (1,) * (weight.ndim - 1)
    if not isinstance(node.op, ops.ConvTranspose):
        return (weight * factor.reshape(-1, *ones)).astype(np.float32)
    groups = node.op.groups
    parts = weight.reshape(groups, -1, *weight.shape[1:])
    scaled = parts * factor.reshape(groups, 1, -1, *ones[1:])
    return scaled.reshape(weight.shape).astype(np.float32)


# --- LayerNorm ------------------------------------------------------------------


def _norm_before(graph: Matcher, node: Node) -> tuple[Node, FloatArray] | None:
    """The LayerNorm before a node, and its constant as an array of the normalised shape."""
    parts = graph.split(node)
    before = graph.maker(parts[0], ops.LayerNorm) if parts else None
    if parts is None or before is None or not isinstance(before.op, ops.LayerNorm):
        return None
    shape, value = graph.type(before.outputs[0]).shape, parts[1]
    inner = shape[before.op.axis :]
    if graph.type(node.outputs[0]).shape != shape or prod(value.shape[: -len(inner)]) != 1:
        return None
    value = value.reshape(value.shape[-len(inner) :])
    return before, np.broadcast_to(value, inner).astype(np.float32)


def _norm_scale(graph: Matcher, node: Node) -> Found | None:
    found = _norm_before(graph, node)
    scale = graph.constant(found[0].inputs[1]) if found else None
    if found is None or scale is None:
        return None
    before, factor = found
    inputs: tuple[str | New, ...] = (
        before.inputs[0],
        New(before.inputs[1], (scale * factor).astype(np.float32)),
    )
    bias = _bias(graph, before)
    if bias is not None:
        inputs += (New(before.inputs[2], bias * factor),)
    return Found(before.op, inputs, (before,))


def _norm_shift(graph: Matcher, node: Node) -> Found | None:
    found = _norm_before(graph, node)
    if found is None:
        return None
    before, shift = found
    bias = _bias(graph, before)
    new = New(f"{before.outputs[0]}/bias", shift if bias is None else bias + shift)
    return Found(before.op, (*before.inputs[:2], new), (before,))


AFFINE_RULES: Rules = {
    ops.Mul: (_fold_scale, _norm_scale),
    ops.Add: (_fold_shift, _norm_shift),
}
