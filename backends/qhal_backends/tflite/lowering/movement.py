"""Data movement: shapes, orders, parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Literal

import numpy as np

from qhal.decisions import Code
from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import NodeView
from qhal_backends.tflite.emitter import Emitter
from qhal_backends.tflite.flat import FlatPadding, OptionValue
from qhal_backends.tflite.lowering.shapes import reshape
from qhal_backends.tflite.windows import steps_in_plane


def _reshape(e: Emitter, view: NodeView) -> None:
    reshape(e, view.node.inputs[0], view.node.outputs[0])


def _transpose(e: Emitter, view: NodeView) -> None:
    assert isinstance(view.op, ops.Transpose)
    order = e.integers(f"{view.node.name}/perm", view.op.perm)
    e.emit("TRANSPOSE", [view.node.inputs[0], order], view.node.outputs)


def _concat(e: Emitter, view: NodeView) -> None:
    assert isinstance(view.op, ops.Concat)
    e.emit("CONCATENATION", view.node.inputs, view.node.outputs, axis=view.op.axis)


def _split(e: Emitter, view: NodeView) -> None:
    """Write SPLIT, or SPLIT_V for uneven parts and for int64, which SPLIT has only in LiteRT."""
    op = view.op
    assert isinstance(op, ops.Split)
    is_even, count = len(set(op.sizes)) == 1, len(op.sizes)
    if e.flavor.uneven_parts_by_slices and not is_even:
        _split_by_slices(e, view, op)
        return
    axis = e.integers(f"{view.node.name}/axis", op.axis)
    if is_even and view.input().dtype is not DType.INT64:
        e.emit("SPLIT", [axis, view.node.inputs[0]], view.node.outputs, numSplits=count)
        return
    sizes = e.integers(f"{view.node.name}/sizes", op.sizes)
    e.emit("SPLIT_V", [view.node.inputs[0], sizes, axis], view.node.outputs, numSplits=count)


def _split_by_slices(e: Emitter, view: NodeView, op: ops.Split) -> None:
    e.decide(
        Code.DECOMPOSED,
        f"Split {view.node.name}: its parts {op.sizes} are uneven, so each is written as a SLICE.",
    )
    starts = [sum(op.sizes[:index]) for index in range(len(op.sizes))]
    for start, part in zip(starts, view.node.outputs, strict=True):
        begin = [start if axis == op.axis else 0 for axis in range(len(view.input().shape))]
        _cut(e, view.node.inputs[0], begin, part)


def _cut(e: Emitter, x: str, begin: Sequence[int], result: str) -> None:
    """Write a SLICE: the block of the shape of ``result`` that begins at ``begin``."""
    size = e.integers(f"{result}/size", e.tensor(result).type.shape)
    e.emit("SLICE", [x, e.integers(f"{result}/begin", begin), size], [result])


def _slice(e: Emitter, view: NodeView) -> None:
    op = view.op
    assert isinstance(op, ops.Slice)
    x, (y,) = view.node.inputs[0], view.node.outputs
    if all(step == 1 for step in op.steps):
        _cut(e, x, op.starts, y)
    elif e.flavor.steps_by_pooling and steps_in_plane(op):
        _pick_by_pooling(e, view, op)
    elif e.flavor.for_xnnpack and _is_column(op, view.input().shape):
        _take_columns(e, view, op)
    else:
        _stride(e, view, op)


def _stride(e: Emitter, view: NodeView, op: ops.Slice) -> None:
    bounds = zip(op.starts, op.sizes, op.steps, strict=True)
    ends = [start + size * step for start, size, step in bounds]
    # An end in front of the first element cannot be stated: -1 would mean the last one.
    mask = sum(1 << axis for axis, end in enumerate(ends) if end < 0)
    stated = ([*op.starts], [max(end, 0) for end in ends], [*op.steps])
    names = zip(("begin", "end", "steps"), stated, strict=True)
    vectors = [e.integers(f"{view.node.name}/{what}", vector) for what, vector in names]
    e.emit("STRIDED_SLICE", [view.node.inputs[0], *vectors], view.node.outputs, endMask=mask)


def _is_column(op: ops.Slice, shape: tuple[int, ...]) -> bool:
    """Return True if each axis is kept, or cut to every n-th element, from one of the first n."""
    axes = zip(shape, op.starts, op.sizes, op.steps, strict=True)
    return all(size * step == n and 0 <= start < step for n, start, size, step in axes)


def _take_columns(e: Emitter, view: NodeView, op: ops.Slice) -> None:
    """Take every n-th element of an axis: a block of columns, once n elements lie in one row.

    XNNPACK runs RESHAPE and SLICE, but no STRIDED_SLICE with strides above 1.
    """
    x, shape = view.node.inputs[0], list(view.input().shape)
    for axis, step in enumerate(op.steps):
        if step == 1:
            continue
        inner = prod(shape[axis + 1 :])
        shape[axis] //= step
        rows = prod(shape[: axis + 1])
        matrix = e.like(x, f"{view.node.name}/rows{axis}", (rows, step * inner))
        column = e.like(x, f"{view.node.name}/columns{axis}", (rows, inner))
        reshape(e, x, matrix)
        _cut(e, matrix, (0, op.starts[axis] * inner), column)
        x = column
    reshape(e, x, view.node.outputs[0])


def _pick_by_pooling(e: Emitter, view: NodeView, op: ops.Slice) -> None:
    """Take every n-th row and column: the maximum of windows of one element."""
    e.decide(
        Code.DECOMPOSED,
        f"Slice {view.node.name}: its strides {op.steps} are written as a 1x1 MAX_POOL_2D.",
    )
    x, (y,) = view.node.inputs[0], view.node.outputs
    block = [(size - 1) * step + 1 for size, step in zip(op.sizes, op.steps, strict=True)]
    if tuple(block) != view.input().shape:
        part = e.like(x, f"{view.node.name}/block", block)
        _cut(e, x, op.starts, part)
        x = part
    options: dict[str, OptionValue] = {
        "padding": FlatPadding.VALID,
        "filterHeight": 1,
        "filterWidth": 1,
        "strideH": op.steps[1],
        "strideW": op.steps[2],
    }
    e.emit("MAX_POOL_2D", [x], [y], **options)


# --- padding ------------------------------------------------------------------


def _pad(e: Emitter, view: NodeView) -> None:
    op = view.op
    assert isinstance(op, ops.Pad)
    if op.mode != "constant":
        _pad_by_picking(e, view, op)
        return
    rank = len(op.pads) // 2
    amounts = e.integers(
        f"{view.node.name}/pads", [(op.pads[i], op.pads[rank + i]) for i in range(rank)]
    )
    inputs = [view.node.inputs[0], amounts]
    if op.value == 0.0:
        e.emit("PAD", inputs, view.node.outputs)
    else:
        fill = e.scalar(f"{view.node.name}/fill", op.value, view.node.inputs[0])
        e.emit("PADV2", [*inputs, fill], view.node.outputs)


def _pad_by_picking(e: Emitter, view: NodeView, op: ops.Pad) -> None:
    """Write edge and reflected padding as one GATHER per padded dimension.

    TFLite lacks the first, and its MIRROR_PAD copies element by element.
    """
    x, shape = view.node.inputs[0], list(view.input().shape)
    rank = len(shape)
    padded = [axis for axis in range(rank) if op.pads[axis] or op.pads[rank + axis]]
    if not padded:
        reshape(e, x, view.node.outputs[0])
    for axis in padded:
        picks = np.pad(
            np.arange(shape[axis]), (op.pads[axis], op.pads[rank + axis]), _MODES[op.mode]
        )
        shape[axis] = len(picks)
        last = axis == padded[-1]
        made = view.node.outputs[0] if last else e.like(x, f"{view.node.name}/axis{axis}", shape)
        indices = e.constant(f"{made}/picks", picks.astype(np.int32))
        e.emit("GATHER", [x, indices], [made], axis=axis)
        x = made


_MODES: Mapping[str, Literal["edge", "reflect"]] = {"edge": "edge", "reflect": "reflect"}


# --- indices and repetition -----------------------------------------------------


def _gather(e: Emitter, view: NodeView) -> None:
    op = view.op
    assert isinstance(op, ops.Gather)
    x, indices = view.node.inputs
    if view.is_constant(1):
        # TFLite takes no negative indices.
        size = view.input().shape[op.axis]
        value = view.constant(1).astype(np.int32)
        indices = e.constant(indices, np.where(value < 0, value + np.int32(size), value))
    e.emit("GATHER", [x, indices], view.node.outputs, axis=op.axis)


def _expand(e: Emitter, view: NodeView) -> None:
    """Write TILE, which copies blocks, or the slower BROADCAST_TO where TILE lacks the type."""
    x, (y,) = view.node.inputs[0], view.node.outputs
    shape = view.output().shape
    if e.flavor.expand_by_broadcasting or e.tensor(x).type.dtype is DType.INT16:
        e.emit("BROADCAST_TO", [x, e.integers(f"{view.node.name}/shape", shape)], [y])
        return
    full = (1,) * (len(shape) - len(view.input().shape)) + view.input().shape
    if full != view.input().shape:
        ranked = e.like(x, f"{view.node.name}/ranked", full)
        reshape(e, x, ranked)
        x = ranked
    repeats = [new // old for new, old in zip(shape, full, strict=True)]
    e.emit("TILE", [x, e.integers(f"{view.node.name}/repeats", repeats)], [y])


def _tile(e: Emitter, view: NodeView) -> None:
    assert isinstance(view.op, ops.Tile)
    repeats = e.integers(f"{view.node.name}/repeats", view.op.repeats)
    e.emit("TILE", [view.node.inputs[0], repeats], view.node.outputs)


LOWERINGS = {
    ops.Reshape: _reshape,
    ops.Transpose: _transpose,
    ops.Concat: _concat,
    ops.Split: _split,
    ops.Slice: _slice,
    ops.Pad: _pad,
    ops.Gather: _gather,
    ops.Expand: _expand,
    ops.Tile: _tile,
}
