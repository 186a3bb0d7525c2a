"""Softmax, reductions and normalisations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qhal.decisions import Code
from qhal.ir import ops
from qhal.ir.graph import NodeView
from qhal_backends.tflite.emitter import Emitter
from qhal_backends.tflite.flat import OptionValue
from qhal_backends.tflite.lowering.planes import reshape


def _softmax(e: Emitter, view: NodeView) -> None:
    """TFLite normalises over the last axis; another one is brought there and back."""
    op = view.op
    assert isinstance(op, ops.Softmax | ops.LogSoftmax)
    builtin, options = _SOFTMAX[type(op)]
    shape, (y,) = view.input().shape, view.node.outputs
    if all(size == 1 for size in shape[op.axis + 1 :]) and op.axis < len(shape) - 1:
        _through_reshape(e, view, builtin, options)
        return
    if op.axis == len(shape) - 1:
        e.emit(builtin, view.node.inputs, [y], **options)
        return
    perm = list(range(len(shape)))
    perm[op.axis], perm[-1] = perm[-1], perm[op.axis]
    e.decide(
        Code.TRANSPOSE_KEPT,
        f"{op.kind} {view.node.name} is over axis {op.axis} of {shape}, and TFLite has it over the "
        "last one: a transpose stands in front of it and one behind.",
    )
    swapped = [shape[i] for i in perm]
    moved = e.like(view.node.inputs[0], f"{view.node.name}/moved", swapped)
    made = e.like(y, f"{view.node.name}/made", swapped)
    order = e.integers(f"{view.node.name}/perm", perm)
    e.emit("TRANSPOSE", [view.node.inputs[0], order], [moved])
    e.emit(builtin, [moved], [made], **options)
    e.emit("TRANSPOSE", [made, order], [y])


def _through_reshape(
    e: Emitter, view: NodeView, builtin: str, options: dict[str, OptionValue]
) -> None:
    """Dimensions of size 1 behind the axis are taken off and put back: no data moves."""
    axis, shape = getattr(view.op, "axis"), view.input().shape  # noqa: B009
    short = shape[: axis + 1]
    flat = e.like(view.node.inputs[0], f"{view.node.name}/flat", short)
    made = e.like(view.node.outputs[0], f"{view.node.name}/made", short)
    reshape(e, view.node.inputs[0], flat)
    e.emit(builtin, [flat], [made], **options)
    reshape(e, made, view.node.outputs[0])


_SOFTMAX: dict[type[ops.Op], tuple[str, dict[str, OptionValue]]] = {
    ops.Softmax: ("SOFTMAX", {"beta": 1.0}),
    ops.LogSoftmax: ("LOG_SOFTMAX", {}),
}

# --- reductions ---------------------------------------------------------------

_REDUCTIONS = {"Mean": "MEAN", "Sum": "SUM", "Max": "REDUCE_MAX", "Min": "REDUCE_MIN"}


def _reduce(e: Emitter, view: NodeView) -> None:
    op = view.op
    assert isinstance(op, ops.Reduce)
    axes = e.integers(f"{view.node.name}/axes", op.axes)
    inputs = [view.node.inputs[0], axes]
    e.emit(_REDUCTIONS[op.function], inputs, view.node.outputs, keepDims=op.keepdims)


def _arg_max(e: Emitter, view: NodeView) -> None:
    op = view.op
    assert isinstance(op, ops.ArgMax)
    (y,) = view.node.outputs
    shape = view.input().shape
    result = (
        e.like(y, f"{y}/reduced", shape[: op.axis] + shape[op.axis + 1 :]) if op.keepdims else y
    )
    inputs = [view.node.inputs[0], e.integers(f"{view.node.name}/axis", op.axis)]
    e.emit("ARG_MAX", inputs, [result], outputType=view.output().dtype)
    if op.keepdims:
        reshape(e, result, y)


# --- normalisations, in float ---------------------------------------------------


def _layer_norm(e: Emitter, view: NodeView) -> None:
    op = view.op
    assert isinstance(op, ops.LayerNorm)
    axes = range(op.axis, len(view.input().shape))
    _normalise(e, view, list(axes), op.epsilon)


def _instance_norm(e: Emitter, view: NodeView) -> None:
    op = view.op
    assert isinstance(op, ops.InstanceNorm)
    _normalise(e, view, list(range(1, len(view.input().shape) - 1)), op.epsilon)


def _normalise(e: Emitter, view: NodeView, axes: Sequence[int], epsilon: float) -> None:
    """``(x - mean) * rsqrt(variance + epsilon) * scale + bias`` with seven operators."""
    node, shape = view.node, view.input().shape
    x, y = node.inputs[0], node.outputs[0]
    over = e.integers(f"{node.name}/axes", axes)
    reduced = [1 if i in axes else size for i, size in enumerate(shape)]

    def step(what: str, builtin: str, inputs: list[str], size: Sequence[int]) -> str:
        made = e.like(x, f"{node.name}/{what}", size)
        options: dict[str, OptionValue] = {"keepDims": True} if builtin == "MEAN" else {}
        e.emit(builtin, inputs, [made], **options)
        return made

    mean = step("mean", "MEAN", [x, over], reduced)
    squares = step("squares", "SQUARED_DIFFERENCE", [x, mean], shape)
    variance = step("variance", "MEAN", [squares, over], reduced)
    guard = e.constant(f"{node.name}/epsilon", np.asarray(epsilon, np.float32))
    guarded = step("guarded", "ADD", [variance, guard], reduced)
    inverse = step("inverse", "RSQRT", [guarded], reduced)
    centred = step("centred", "SUB", [x, mean], shape)
    scaled = step("scaled", "MUL", [centred, inverse], shape)
    if not view.has(2):
        e.emit("MUL", [scaled, node.inputs[1]], [y])
        return
    weighted = step("weighted", "MUL", [scaled, node.inputs[1]], shape)
    e.emit("ADD", [weighted, node.inputs[2]], [y])


LOWERINGS = {
    **dict.fromkeys(_SOFTMAX, _softmax),
    ops.Reduce: _reduce,
    ops.ArgMax: _arg_max,
    ops.LayerNorm: _layer_norm,
    ops.InstanceNorm: _instance_norm,
}
