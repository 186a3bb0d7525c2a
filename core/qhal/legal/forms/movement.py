"""Forms of data movement and of products that another operator computes as well."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from qhal.ir import ops
from qhal.ir.ops import Ints
from qhal.legal.forms.draft import Draft
from qhal.legal.forms.functions import Results

# --- products -----------------------------------------------------------------


def fully_connected_by_conv(d: Draft) -> Results:
    """Write (..., K) as an image of one line, with a pixel for each row and K channels.

    The Transposes are those between the layouts: channels-last targets need none, and a single
    row needs none anywhere.
    """
    op: Any = d.node.op
    x, weight = d.input(0), d.constant_input(1)
    if weight is None:
        return None
    *rows, depth = d.shape(x)
    line = d("line", ops.Reshape((1, 1, prod(rows), depth)), x)
    image = d("image", ops.Transpose((0, 3, 1, 2)), line)
    kernel = d.constant("kernel", weight[:, :, None, None], d.type(d.input(1)).dtype)
    conv = ops.Conv((1, 1), (0, 0, 0, 0), (1, 1), activation=op.activation)
    made = d("conv", conv, image, kernel, *d.node.inputs[2:])
    turned = d("turned", ops.Transpose((0, 2, 3, 1)), made)
    return (d("rows", ops.Reshape((*rows, len(weight))), turned),)


def fully_connected_by_matmul(d: Draft) -> Results:
    """Write ``x @ weight.T + bias``."""
    op: Any = d.node.op
    weight = d.constant_input(1)
    if weight is None or op.activation is not ops.Activation.NONE:
        return None
    turned = d.constant("weight", weight.T, d.type(d.input(1)).dtype)
    product = d("product", ops.MatMul(), d.input(0), turned)
    return (d("sum", ops.Add(), product, d.input(2)) if d.input(2) else product,)


def matmul_by_fully_connected(d: Draft) -> Results:
    """Take a constant matrix on the right as a weight."""
    right = d.constant_input(1)
    if right is None or right.ndim != 2 or len(d.shape(d.input(0))) < 2:
        return None
    weight = d.constant("weight", right.T, d.type(d.input(1)).dtype)
    return (d("product", ops.FullyConnected(), d.input(0), weight),)


def depthwise_by_conv(d: Draft) -> Results:
    """Write a convolution with one group per channel."""
    op: Any = d.node.op
    groups = d.shape(d.input(0))[1]
    conv = ops.Conv(op.strides, op.pads, op.dilations, groups, op.activation)
    return (d("conv", conv, *d.node.inputs),)


# --- data movement ------------------------------------------------------------


def _cut(d: Draft, hint: str, axis: int, start: int, size: int) -> str:
    """Take ``size`` elements from ``start`` along one axis of operand 0."""
    shape = d.shape(d.input(0))
    starts = tuple(start if i == axis else 0 for i in range(len(shape)))
    sizes = tuple(size if i == axis else n for i, n in enumerate(shape))
    return d(hint, ops.Slice(starts, sizes, (1,) * len(shape)), d.input(0))


def split_by_slices(d: Draft) -> Results:
    """Write one Slice for each part."""
    op: Any = d.node.op
    starts = np.cumsum((0, *op.sizes)).tolist()
    parts = zip(starts, op.sizes, strict=False)
    return tuple(_cut(d, f"part{i}", op.axis, start, size) for i, (start, size) in enumerate(parts))


def gather_by_slice(d: Draft) -> Results:
    """Write consecutive indices, or one, as a Slice."""
    op: Any = d.node.op
    indices = d.constant_input(1)
    if indices is None or indices.size == 0:
        return None
    flat = np.asarray(indices, np.int64).ravel()
    if (np.diff(flat) != 1).any() or flat[0] < 0:
        return None
    part = _cut(d, "part", op.axis, int(flat[0]), flat.size)
    shape = d.shape(d.node.outputs[0])
    return (part if d.shape(part) == shape else d("shaped", ops.Reshape(shape), part),)


def expand_by_tile(d: Draft) -> Results:
    """Repeat the dimensions of size 1."""
    op: Any = d.node.op
    x = d.input(0)
    missing = len(op.shape) - len(d.shape(x))
    full = (1,) * missing + d.shape(x)
    if missing:
        x = d("ranked", ops.Reshape(full), x)
    repeats = tuple(new // old for new, old in zip(op.shape, full, strict=True))
    return (d("tiled", ops.Tile(repeats), x),)


def expanded(d: Draft) -> Results:
    """Give all operands the shape in which they broadcast."""
    shape = d.shape(d.node.outputs[0])
    if all(d.shape(name) == shape for name in d.node.inputs):
        return None
    operands = [
        name if d.shape(name) == shape else d(f"operand{i}", ops.Expand(shape), name)
        for i, name in enumerate(d.node.inputs)
    ]
    return (d("whole", d.node.op, *operands),)


def tile_by_concat(d: Draft) -> Results:
    """Join copies along each axis."""
    op: Any = d.node.op
    x = d.input(0)
    for axis, count in enumerate(op.repeats):
        if count > 1:
            x = d(f"axis{axis}", ops.Concat(axis), *[x] * count)
    return None if x == d.input(0) else (x,)


_JOINED_AT_ONCE = 10
"""Operands of a Concat that any target takes."""


def concat_in_tens(d: Draft) -> Results:
    """Join ten operands at a time."""
    op: Any = d.node.op
    names = d.node.inputs
    if len(names) <= _JOINED_AT_ONCE:
        return None
    starts = range(0, len(names), _JOINED_AT_ONCE)
    parts = [names[start : start + _JOINED_AT_ONCE] for start in starts]
    joined = [d("part", op, *part) if len(part) > 1 else part[0] for part in parts]
    return (d("whole", op, *joined),)


def depth_to_space(d: Draft) -> Results:
    """Write Reshape, Transpose, Reshape."""
    op: Any = d.node.op
    n, c, h, w = d.shape(d.input(0))
    b, channels = op.block, c // op.block**2
    crd = op.mode == "CRD"
    inner: Ints = (n, channels, b, b, h, w) if crd else (n, b, b, channels, h, w)
    perm = (0, 1, 4, 2, 5, 3) if crd else (0, 3, 4, 1, 5, 2)
    return _blocks(d, inner, perm, (n, channels, h * b, w * b))


def space_to_depth(d: Draft) -> Results:
    """Write Reshape, Transpose, Reshape."""
    op: Any = d.node.op
    n, c, h, w = d.shape(d.input(0))
    b = op.block
    inner = (n, c, h // b, b, w // b, b)
    return _blocks(d, inner, (0, 3, 5, 1, 2, 4), (n, c * b * b, h // b, w // b))


def _blocks(d: Draft, inner: Ints, perm: Ints, outer: Ints) -> Results:
    opened = d("opened", ops.Reshape(inner), d.input(0))
    return (d("closed", ops.Reshape(outer), d("moved", ops.Transpose(perm), opened)),)
