"""Softmax, reductions and normalizations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from qhal.decisions import Code
from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import NodeView, TensorType
from qhal.quant.model import QuantParams
from qhal_backends.tflite.emitter import Emitter
from qhal_backends.tflite.flat import OptionValue
from qhal_backends.tflite.lowering.shapes import reshape


def _softmax(e: Emitter, view: NodeView) -> None:
    e.emit("SOFTMAX", view.node.inputs, view.node.outputs, beta=1.0)


def _log_softmax(e: Emitter, view: NodeView) -> None:
    e.emit("LOG_SOFTMAX", view.node.inputs, view.node.outputs)


# --- reductions ---------------------------------------------------------------

_REDUCTIONS = {
    "Mean": "MEAN",
    "Sum": "SUM",
    "Max": "REDUCE_MAX",
    "Min": "REDUCE_MIN",
    "Prod": "REDUCE_PROD",
}


def _reduce(e: Emitter, view: NodeView) -> None:
    op = view.op
    assert isinstance(op, ops.Reduce)
    inputs = [view.node.inputs[0], e.integers(f"{view.node.name}/axes", op.axes)]
    if op.function == "Sum" and e.tensor(view.node.outputs[0]).params is not None:
        _sum_of_integers(e, view, inputs, op)
        return
    e.emit(_REDUCTIONS[op.function], inputs, view.node.outputs, keepDims=op.keepdims)


def _sum_of_integers(e: Emitter, view: NodeView, inputs: list[str], op: ops.Reduce) -> None:
    """Write a sum as the mean times the number of elements.

    The reference kernel of SUM loses the scale of 8-bit sums, and tflite-runtime 2.14 runs it by
    default. The mean's scale is the sum's over the number, so MUL passes the integers through.
    """
    (y,) = view.node.outputs
    made, count = e.tensor(y), prod(view.input().shape[axis] for axis in op.axes)
    assert made.params is not None
    e.decide(
        Code.DECOMPOSED,
        f"ReduceSum {view.node.name}: the reference kernel of SUM is wrong for integers, so it is "
        f"written as MEAN times {count}.",
    )
    smaller = replace(made.params, scale=np.asarray(made.params.scale / count, np.float32))
    mean = e.make(f"{view.node.name}/mean", made.type, smaller)
    e.emit("MEAN", inputs, [mean], keepDims=op.keepdims)
    unit = QuantParams.per_tensor(made.type.dtype, float(count), 0)
    factor = e.constant(f"{view.node.name}/count", np.asarray(1, made.type.dtype.numpy), unit)
    e.emit("MUL", [mean, factor], [y])


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


def _top_k(e: Emitter, view: NodeView) -> None:
    """Write TOPK_V2, whose indices are int32, and a CAST of them."""
    assert isinstance(view.op, ops.TopK)
    node, shape = view.node, view.output().shape
    values, indices = (*node.outputs, "")[:2]
    short = e.make(f"{node.name}/indices", TensorType(shape, DType.INT32))
    values = values or e.make(f"{node.name}/values", TensorType(shape, DType.FLOAT32))
    count = e.integers(f"{node.name}/k", view.op.count)
    e.emit("TOPK_V2", [node.inputs[0], count], [values, short])
    if indices:
        e.emit("CAST", [short], [indices], inDataType=DType.INT32, outDataType=view.op.to)


# --- normalizations, in float ---------------------------------------------------


def _layer_norm(e: Emitter, view: NodeView) -> None:
    op = view.op
    assert isinstance(op, ops.LayerNorm)
    axes = range(op.axis, len(view.input().shape))
    _normalize(e, view, list(axes), op.epsilon)


def _instance_norm(e: Emitter, view: NodeView) -> None:
    op = view.op
    assert isinstance(op, ops.InstanceNorm)
    _normalize(e, view, list(range(1, len(view.input().shape) - 1)), op.epsilon)


def _normalize(e: Emitter, view: NodeView, axes: Sequence[int], epsilon: float) -> None:
    """Write ``(x - mean) * rsqrt(variance + epsilon) * scale + bias`` with seven operators."""
    node, shape = view.node, view.input().shape
    x, y = node.inputs[0], node.outputs[0]
    over = e.integers(f"{node.name}/axes", axes)
    reduced = [1 if i in axes else size for i, size in enumerate(shape)]

    def write(what: str, builtin: str, inputs: list[str], size: Sequence[int]) -> str:
        made = e.like(x, f"{node.name}/{what}", size)
        options: dict[str, OptionValue] = {"keepDims": True} if builtin == "MEAN" else {}
        e.emit(builtin, inputs, [made], **options)
        return made

    mean = write("mean", "MEAN", [x, over], reduced)
    squares = write("squares", "SQUARED_DIFFERENCE", [x, mean], shape)
    variance = write("variance", "MEAN", [squares, over], reduced)
    guard = e.constant(f"{node.name}/epsilon", np.asarray(epsilon, np.float32))
    guarded = write("guarded", "ADD", [variance, guard], reduced)
    inverse = write("inverse", "RSQRT", [guarded], reduced)
    centered = write("centred", "SUB", [x, mean], shape)
    scaled = write("scaled", "MUL", [centered, inverse], shape)
    if not view.has(2):
        e.emit("MUL", [scaled, node.inputs[1]], [y])
        return
    weighted = write("weighted", "MUL", [scaled, node.inputs[1]], shape)
    e.emit("ADD", [weighted, node.inputs[2]], [y])


LOWERINGS = {
    ops.Softmax: _softmax,
    ops.LogSoftmax: _log_softmax,
    ops.Reduce: _reduce,
    ops.ArgMax: _arg_max,
    ops.TopK: _top_k,
    ops.LayerNorm: _layer_norm,
    ops.InstanceNorm: _instance_norm,
}
