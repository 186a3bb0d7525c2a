"""Data movement: shapes, orders, parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qhal.decisions import Code
from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import NodeView
from qhal.quant.arithmetic import quantize
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
    """SPLIT, or SPLIT_V for uneven parts and for int64, which SPLIT has since LiteRT only."""
    op = view.op
    assert isinstance(op, ops.Split)
    is_even, count = len(set(op.sizes)) == 1, len(op.sizes)
    if e.flavour.uneven_parts_by_slices and not is_even:
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
        f"Split {view.node.name}: its parts {op.sizes} are uneven, so each is a SLICE.",
    )
    starts = [sum(op.sizes[:index]) for index in range(len(op.sizes))]
    for start, part in zip(starts, view.node.outputs, strict=True):
        begin = [start if axis == op.axis else 0 for axis in range(len(view.input().shape))]
        _cut(e, view.node.inputs[0], begin, part)


def _cut(e: Emitter, x: str, begin: Sequence[int], result: str) -> None:
    """The block of the shape of ``result`` that begins at ``begin``."""
    size = e.integers(f"{result}/size", e.tensor(result).type.shape)
    e.emit("SLICE", [x, e.integers(f"{result}/begin", begin), size], [result])


def _slice(e: Emitter, view: NodeView) -> None:
    op = view.op
    assert isinstance(op, ops.Slice)
    x, (y,) = view.node.inputs[0], view.node.outputs
    if all(step == 1 for step in op.steps):
        _cut(e, x, op.starts, y)
    elif e.flavour.steps_by_pooling and steps_in_plane(op):
        _pick_by_pooling(e, view, op)
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


def _pick_by_pooling(e: Emitter, view: NodeView, op: ops.Slice) -> None:
    """Every n-th row and column: the maximum of windows of one element."""
    e.decide(
        Code.DECOMPOSED,
        f"Slice {view.node.name}: its steps {op.steps} are written as a 1x1 MAX_POOL_2D.",
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
    if op.mode == "edge":
        _pad_with_edges(e, view, op)
        return
    rank = len(op.pads) // 2
    amounts = e.integers(
        f"{view.node.name}/pads", [(op.pads[i], op.pads[rank + i]) for i in range(rank)]
    )
    inputs = [view.node.inputs[0], amounts]
    if op.mode == "reflect":
        e.emit("MIRROR_PAD", inputs, view.node.outputs, mode=0)
    elif op.value == 0.0:
        e.emit("PAD", inputs, view.node.outputs)
    else:
        e.emit("PADV2", [*inputs, _fill(e, view, op.value)], view.node.outputs)


def _fill(e: Emitter, view: NodeView, value: float) -> str:
    """The value in the form of the operand, as PADV2 wants it."""
    source = e.tensor(view.node.inputs[0])
    real = np.asarray(value, np.float32)
    stored = real if source.params is None else quantize(real, source.params)
    hint = f"{view.node.name}/fill"
    return e.constant(hint, stored.astype(source.type.dtype.numpy), source.params)


def _pad_with_edges(e: Emitter, view: NodeView, op: ops.Pad) -> None:
    """Edge padding, which TFLite lacks: one GATHER with clamped indices per padded dimension."""
    x, shape = view.node.inputs[0], list(view.input().shape)
    rank = len(shape)
    padded = [axis for axis in range(rank) if op.pads[axis] or op.pads[rank + axis]]
    if not padded:
        reshape(e, x, view.node.outputs[0])
    for axis in padded:
        begin, end, size = op.pads[axis], op.pads[rank + axis], shape[axis]
        shape[axis] = size + begin + end
        last = axis == padded[-1]
        made = view.node.outputs[0] if last else e.like(x, f"{view.node.name}/axis{axis}", shape)
        picks = np.clip(np.arange(-begin, size + end), 0, size - 1).astype(np.int32)
        e.emit("GATHER", [x, e.constant(f"{made}/picks", picks)], [made], axis=axis)
        x = made


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
    shape = e.integers(f"{view.node.name}/shape", view.output().shape)
    e.emit("BROADCAST_TO", [view.node.inputs[0], shape], view.node.outputs)


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
