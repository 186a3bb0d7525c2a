"""Operators that move elements without changing them: the same code for every type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from qhal.ir import ops
from qhal.ir.ops import Layout, Op
from qhal.ir.resampling import nearest_indices
from qhal.quant.oracle import window as windows
from qhal.quant.oracle.context import Kernel, KernelContext, Operands, operands_of
from qhal.quant.oracle.values import Array
from qhal.quant.oracle.window import SlidingWindow

Move = Callable[[Any, Array], Array]


def _reshape(op: ops.Reshape, x: Array) -> Array:
    return x.reshape(op.shape)


def _transpose(op: ops.Transpose, x: Array) -> Array:
    return x.transpose(op.perm)


def _slice(op: ops.Slice, x: Array) -> Array:
    cuts = []
    for start, size, stride in zip(op.starts, op.sizes, op.steps, strict=True):
        stop = start + size * stride
        cuts.append(slice(start, stop if stop >= 0 else None, stride) if size else slice(0, 0))
    return x[tuple(cuts)]


def _expand(op: ops.Expand, x: Array) -> Array:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, op.shape))


def _tile(op: ops.Tile, x: Array) -> Array:
    return np.tile(x, op.repeats)


def _depth_to_space(op: ops.DepthToSpace, x: Array) -> Array:
    x = windows.channels_last(x, op.layout)
    batch, height, width, channels = x.shape
    block, depth = op.block, channels // op.block**2
    if op.mode == "DCR":
        parts = x.reshape(batch, height, width, block, block, depth).transpose(0, 1, 3, 2, 4, 5)
    else:
        parts = x.reshape(batch, height, width, depth, block, block).transpose(0, 1, 4, 2, 5, 3)
    found = parts.reshape(batch, height * block, width * block, depth)
    return windows.from_channels_last(found, op.layout)


def _space_to_depth(op: ops.SpaceToDepth, x: Array) -> Array:
    x = windows.channels_last(x, op.layout)
    batch, height, width, channels = x.shape
    block = op.block
    parts = x.reshape(batch, height // block, block, width // block, block, channels)
    found = parts.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // block, width // block, -1)
    return windows.from_channels_last(found, op.layout)


MOVES: Mapping[type[Op], Move] = {
    ops.Reshape: _reshape,
    ops.Transpose: _transpose,
    ops.Slice: _slice,
    ops.Expand: _expand,
    ops.Tile: _tile,
    ops.DepthToSpace: _depth_to_space,
    ops.SpaceToDepth: _space_to_depth,
}
"""Operators of one operand and one result."""


def build_move(context: KernelContext) -> Kernel:
    """Build the kernel of an operator in :data:`MOVES`."""
    move = MOVES[type(context.op)]
    return lambda operands: (move(context.op, operands[0]),)  # type: ignore[arg-type]


def build_concat(context: KernelContext) -> Kernel:
    """Build a kernel that joins all operands."""
    op = context.op
    assert isinstance(op, ops.Concat)
    return lambda operands: (np.concatenate(operands_of(operands), op.axis),)


def build_split(context: KernelContext) -> Kernel:
    """Build a kernel that cuts into several results."""
    op = context.op
    assert isinstance(op, ops.Split)
    cuts = np.cumsum(op.sizes)[:-1]
    return lambda operands: tuple(np.split(operands_of(operands)[0], cuts, op.axis))


def build_gather(context: KernelContext) -> Kernel:
    """Build a kernel that picks slices along an axis; a negative index counts from the end."""
    op = context.op
    assert isinstance(op, ops.Gather)

    def run(operands: Operands) -> tuple[Array, ...]:
        x, indices = operands_of(operands)
        return (np.take(x, indices.astype(np.intp), op.axis),)

    return run


def build_where(context: KernelContext) -> Kernel:
    """Build a kernel that chooses between two operands."""

    def run(operands: Operands) -> tuple[Array, ...]:
        condition, a, b = operands_of(operands)
        return (np.where(condition, a, b),)

    return run


def build_pad(context: KernelContext, value: float | None = None) -> Kernel:
    """Build Pad; ``value`` replaces the operator's own (a zero point, for integers)."""
    op = context.op
    assert isinstance(op, ops.Pad)
    rank = len(op.pads) // 2
    widths = list(zip(op.pads[:rank], op.pads[rank:], strict=True))
    filler = op.value if value is None else value

    def run(operands: Operands) -> tuple[Array, ...]:
        (x,) = operands_of(operands)
        if op.mode == "constant":
            return (np.pad(x, widths, constant_values=filler),)
        return (np.pad(x, widths, mode="reflect" if op.mode == "reflect" else "edge"),)

    return run


def build_max_pool(context: KernelContext) -> Kernel:
    """Build a maximum over windows; padding is the smallest value of the type."""
    op = context.op
    assert isinstance(op, ops.MaxPool)
    window = pool_window(context, op)
    dtype = context.input_type().dtype
    lowest = float(-np.inf) if dtype.is_float else dtype.qmin

    def run(operands: Operands) -> tuple[Array, ...]:
        x = windows.channels_last(operands_of(operands)[0], op.layout)
        padded = windows.pad(x, window, lowest, x.dtype)
        found = windows.reduce_windows(padded, window, np.maximum)
        return (windows.from_channels_last(found, op.layout),)

    return run


def pool_window(context: KernelContext, op: ops.MaxPool | ops.AveragePool) -> SlidingWindow:
    """Return the geometry of a pooling operator."""
    rank = len(op.kernel)
    out = windows.spatial(context.output_type().shape, op.layout)
    return SlidingWindow(op.kernel, op.strides, op.pads[:rank], (1,) * rank, out)


def build_resize_nearest(context: KernelContext) -> Kernel:
    """Build nearest-neighbor resampling, with ONNX's coordinate and rounding rules."""
    op = context.op
    assert isinstance(op, ops.Resize)
    sizes = windows.spatial(context.input_type().shape, op.layout)
    first = 2 if op.layout is Layout.NCHW else 1
    indices = [nearest_indices(op, *pair) for pair in zip(sizes, op.sizes, strict=True)]

    def run(operands: Operands) -> tuple[Array, ...]:
        (x,) = operands_of(operands)
        for axis, index in enumerate(indices, first):
            x = np.take(x, index, axis)
        return (x,)

    return run
