"""Data movement: shapes, orders, parts."""

from __future__ import annotations

import numpy as np

from qhal.ir import ops
from qhal.ir.graph import NodeView
from qhal.quant.arithmetic import quantize
from qhal_backends.tflite.emitter import Emitter
from qhal_backends.tflite.lowering.planes import reshape


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
    op = view.op
    assert isinstance(op, ops.Split)
    axis, count = e.integers(f"{view.node.name}/axis", op.axis), len(op.sizes)
    if len(set(op.sizes)) == 1:
        e.emit("SPLIT", [axis, view.node.inputs[0]], view.node.outputs, numSplits=count)
        return
    sizes = e.integers(f"{view.node.name}/sizes", op.sizes)
    e.emit("SPLIT_V", [view.node.inputs[0], sizes, axis], view.node.outputs, numSplits=count)


def _slice(e: Emitter, view: NodeView) -> None:
    op = view.op
    assert isinstance(op, ops.Slice)
    begin = e.integers(f"{view.node.name}/begin", op.starts)
    if all(step == 1 for step in op.steps):
        size = e.integers(f"{view.node.name}/size", op.sizes)
        e.emit("SLICE", [view.node.inputs[0], begin, size], view.node.outputs)
        return
    bounds = zip(op.starts, op.sizes, op.steps, strict=True)
    ends = [start + size * step for start, size, step in bounds]
    # An end in front of the first element cannot be stated: -1 would mean the last one.
    mask = sum(1 << axis for axis, end in enumerate(ends) if end < 0)
    end = e.integers(f"{view.node.name}/end", [max(end, 0) for end in ends])
    steps = e.integers(f"{view.node.name}/steps", op.steps)
    inputs = [view.node.inputs[0], begin, end, steps]
    e.emit("STRIDED_SLICE", inputs, view.node.outputs, endMask=mask)


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
