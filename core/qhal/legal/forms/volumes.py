"""Windows over three spatial dimensions as windows over two of them."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from qhal.ir import ops
from qhal.ir.graph import Array
from qhal.ir.ops import Ints
from qhal.legal.forms.draft import Draft
from qhal.legal.forms.functions import Results

# --- pooling --------------------------------------------------------------------


def pool_in_two_steps(d: Draft) -> Results:
    """Pool height and width, then depth: maxima and means of equal parts are separable.

    So are means that leave padding out: how many elements a window has is a product over the
    dimensions.
    """
    op: Any = d.node.op
    n, c, depth, height, width = d.shape(d.input(0))
    front, top, left, back, bottom, right = op.pads
    slices = d("slices", ops.Reshape((n, c * depth, height, width)), d.input(0))
    plane = replace(
        op, kernel=op.kernel[1:], strides=op.strides[1:], pads=(top, left, bottom, right)
    )
    flat = d("planes", plane, slices)
    _, _, height, width = d.shape(flat)
    columns = d("columns", ops.Reshape((n, c, depth, height * width)), flat)
    line = replace(
        op, kernel=(op.kernel[0], 1), strides=(op.strides[0], 1), pads=(front, 0, back, 0)
    )
    deep = d("depths", line, columns)
    return (d("volume", ops.Reshape((n, c, d.shape(deep)[2], height, width)), deep),)


# --- convolutions ---------------------------------------------------------------


def conv_by_planes(d: Draft) -> Results:
    """Convolve images that hold, as channels, all slices that the kernel reads in depth.

    The kernel's depth becomes a part of its channels, so that the sums stay the same.
    """
    op: Any = d.node.op
    weight = d.constant_input(1)
    if weight is None:
        return None
    n, c, _, height, width = d.shape(d.input(0))
    size = weight.shape[2]
    groups = c if isinstance(op, ops.DepthwiseConv) else op.groups
    pads = (*op.pads[1:3], *op.pads[4:])
    stacked, depth = _stacked(d, size)
    images = d("images", ops.Reshape((n * depth, c * size, height, width)), stacked)
    plane = ops.Conv(op.strides[1:], pads, op.dilations[1:], groups, op.activation)
    kernel = weight.reshape(len(weight), -1, *weight.shape[3:])
    names = [d.constant("kernel", kernel, d.type(d.input(1)).dtype), *d.node.inputs[2:]]
    made = d("planes", plane, images, *names)
    _, results, height, width = d.shape(made)
    opened = d("opened", ops.Reshape((n, depth, results, height, width)), made)
    return (d("volume", ops.Transpose((0, 2, 1, 3, 4)), opened),)


def _stacked(d: Draft, size: int) -> tuple[str, int]:
    """Lay the slices that each window reads in depth side by side: (N, depth, C, size, H, W)."""
    op: Any = d.node.op
    n, c, depth, height, width = d.shape(d.input(0))
    x, front, back = d.input(0), op.pads[0], op.pads[3]
    if front or back:
        x = d("deeper", ops.Pad((0, 0, front, 0, 0, 0, 0, back, 0, 0)), x)
    step, reach = op.strides[0], (size - 1) * op.dilations[0]
    count = (depth + front + back - reach - 1) // step + 1
    parts = []
    for tap in range(size):
        starts = (0, 0, tap * op.dilations[0], 0, 0)
        cut = ops.Slice(starts, (n, c, count, height, width), (1, 1, step, 1, 1))
        part = x if d.shape(x)[2] == count else d("slice", cut, x)
        parts.append(d("part", ops.Reshape((n, c, 1, count, height, width)), part))
    joined = d("joined", ops.Concat(2), *parts) if size > 1 else parts[0]
    return d("stacked", ops.Transpose((0, 3, 1, 2, 4, 5)), joined), count


# --- transposed convolutions ----------------------------------------------------


def conv_transpose_by_cut(d: Draft) -> Results:
    """Compute everything that the windows make, and cut the result out of it."""
    op: Any = d.node.op
    kernel = d.shape(d.input(1))[2:]
    rank = len(kernel)
    more = tuple(max(s - k, 0) for s, k in zip(op.strides, kernel, strict=True))
    begins, ends = op.pads[:rank], op.pads[rank:]
    left = [ends[i] + more[i] - op.output_padding[i] for i in range(rank)]
    is_whole = not any((*begins, *left))
    if is_whole or min((*begins, *left)) < 0 or max(op.dilations) > 1:
        return None
    whole = replace(op, pads=(0,) * (2 * rank), output_padding=more)
    made = d("whole", whole, *d.node.inputs)
    return (_cut(d, made, list(begins), left),)


def conv_transpose_by_conv(d: Draft) -> Results:
    """Convolve, with the kernel turned around, the tensor with zeros between its elements."""
    op: Any = d.node.op
    weight = d.constant_input(1)
    if weight is None:
        return None
    rank = weight.ndim - 2
    x = d.input(0)
    for i in range(rank):
        x = _spread(d, x, 2 + i, op.strides[i])
    reach = [(k - 1) * dilation for k, dilation in zip(weight.shape[2:], op.dilations, strict=True)]
    begins = [reach[i] - op.pads[i] for i in range(rank)]
    ends = [reach[i] - op.pads[rank + i] + op.output_padding[i] for i in range(rank)]
    x = _cut(d, x, [max(-b, 0) for b in begins], [max(-e, 0) for e in ends])
    pads: Ints = tuple(max(p, 0) for p in (*begins, *ends))
    conv = ops.Conv((1,) * rank, pads, op.dilations, op.groups, op.activation)
    kernel = d.constant("kernel", _turned(weight, op.groups), d.type(d.input(1)).dtype)
    return (d("conv", conv, x, kernel, *d.node.inputs[2:]),)


def _turned(weight: Array, groups: int) -> Array:
    """Turn (inputs, results / groups, ...) into (results, inputs / groups, ...), mirrored."""
    inputs, results, *kernel = weight.shape
    grouped = weight.reshape(groups, inputs // groups, results, *kernel).swapaxes(1, 2)
    made = grouped.reshape(groups * results, inputs // groups, *kernel)
    return np.ascontiguousarray(np.flip(made, tuple(range(2, made.ndim))))


def _spread(d: Draft, x: str, axis: int, stride: int) -> str:
    """Put ``stride - 1`` zeros between neighbors along an axis."""
    if stride == 1:
        return x
    shape = d.shape(x)
    count, inner = shape[axis], prod(shape[axis + 1 :])
    opened = d("opened", ops.Reshape((prod(shape[:axis]), count, 1, inner)), x)
    filled = d("filled", ops.Pad((0, 0, 0, 0, 0, 0, stride - 1, 0)), opened)
    wide = (*shape[:axis], count * stride, *shape[axis + 1 :])
    closed = d("closed", ops.Reshape(wide), filled)
    ends = [stride - 1 if i == axis else 0 for i in range(2, len(shape))]
    return _cut(d, closed, [0] * len(ends), ends)


def _cut(d: Draft, x: str, begins: list[int], ends: list[int]) -> str:
    """Cut elements off the begins and ends of the spatial dimensions."""
    if not any((*begins, *ends)):
        return x
    shape = d.shape(x)
    spatial = zip(shape[2:], begins, ends, strict=True)
    sizes = (*shape[:2], *(size - b - e for size, b, e in spatial))
    return d("cut", ops.Slice((0, 0, *begins), sizes, (1,) * len(shape)), x)
