"""Normalization, softmax and reductions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import inf, prod

import numpy as np

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.onnx.call import ImportCall, Mapper, Unsupported, need_float, normal_axes
from qhal.ir.ops import Ints, Op

# --- normalization --------------------------------------------------------------


def _batch_norm(call: ImportCall) -> str:
    """Emit ``x * a + b`` with one a and b per channel; recognition folds it into a convolution."""
    per_pixel = call.opset < 9 and not call.flag("spatial", True) and call.rank() > 2
    if call.flag("training_mode") or per_pixel:
        raise Unsupported("it computes statistics of the batch instead of using stored ones")
    if any(call.used(i) for i in range(1, 5)):
        raise Unsupported("its outputs of statistics are used")
    found = [call.constant(i) for i in range(1, 5)]
    given = [value.astype(np.float64) for value in found if value is not None]
    if len(given) < 4:
        return _computed_batch_norm(call)
    scale, bias, mean, variance = given
    factor = scale / np.sqrt(variance + call.number("epsilon", 1e-5))
    shape = (-1, *(1,) * (call.rank() - 2)) if call.rank() > 1 else (-1,)
    a, b = factor.reshape(shape), (bias - mean * factor).reshape(shape)
    scaled = call.inner(ops.Mul(), call.tensor(0), call.const("scale", a.astype(np.float32)))
    return call.result(ops.Add(), scaled, call.const("shift", b.astype(np.float32)))


def _computed_batch_norm(call: ImportCall) -> str:
    """Emit ``(x - mean) * (scale / sqrt(variance + epsilon)) + bias`` where some are computed."""
    scale, bias, mean = (_per_channel(call, call.tensor(i)) for i in (1, 2, 3))
    epsilon, variance = call.number("epsilon", 1e-5), call.constant(4)
    if variance is None:
        raised = call.inner(ops.Add(), call.tensor(4), call.const("epsilon", np.float32(epsilon)))
        inverse = call.inner(ops.Unary("Rsqrt"), raised)
    else:
        root = np.sqrt(variance.astype(np.float64) + epsilon)
        inverse = call.const("inverse", (1 / root).astype(np.float32))
    factor = call.inner(ops.Mul(), scale, _per_channel(call, inverse))
    centered = call.inner(ops.Sub(), call.tensor(0), mean)
    return call.result(ops.Add(), call.inner(ops.Mul(), centered, factor), bias)


def _per_channel(call: ImportCall, name: str) -> str:
    """Give a vector the shape in which it broadcasts along dimension 1."""
    size = call.scope.builder.type(name).elements
    shape = (size, *(1,) * (call.rank() - 2)) if call.rank() > 1 else (size,)
    value = call.scope.builder.value(name)
    if value is not None:
        return call.scope.share(name, value.reshape(shape))
    if call.scope.builder.type(name).shape == shape:
        return name
    return call.inner(ops.Reshape(shape), name)


def _layer_norm(call: ImportCall) -> str:
    if call.used(1) or call.used(2):
        raise Unsupported("its outputs of mean or deviation are used")
    axis = call.axis(default=-1)
    operands = [call.tensor(i) for i in range(len(call.node.inputs)) if call.has(i)]
    return call.result(ops.LayerNorm(axis, call.number("epsilon", 1e-5)), *operands)


def _instance_norm(call: ImportCall) -> str:
    op = ops.InstanceNorm(call.number("epsilon", 1e-5))
    if call.constant(1) is not None and call.constant(2) is not None:
        return call.result(op, *(call.tensor(i) for i in range(3)))
    norm = call.inner(op, call.tensor(0), *_plain(call, call.shape()[1]))
    scaled = call.inner(ops.Mul(), norm, _per_channel(call, call.tensor(1)))
    return call.result(ops.Add(), scaled, _per_channel(call, call.tensor(2)))


def _group_norm(call: ImportCall) -> str:
    """Emit InstanceNorm over groups, then scale and bias (per group before opset 21)."""
    shape, groups = call.shape(), call.integer("num_groups", 1)
    scale, bias = (
        np.repeat(values, shape[1] // len(values)).reshape(-1, *(1,) * (len(shape) - 2))
        for values in (call.floats(1, "scale"), call.floats(2, "bias"))
    )
    grouped = call.inner(ops.Reshape((shape[0], groups, prod(shape[1:]) // groups)), call.tensor(0))
    op = ops.InstanceNorm(call.number("epsilon", 1e-5))
    norm = call.inner(op, grouped, *_plain(call, groups))
    scaled = call.inner(ops.Mul(), call.inner(ops.Reshape(shape), norm), call.const("scale", scale))
    return call.result(ops.Add(), scaled, call.const("shift", bias))


def _plain(call: ImportCall, count: int) -> tuple[str, str]:
    """Make a scale of ones and a bias of zeros."""
    return (
        call.const("ones", np.ones(count, np.float32)),
        call.const("zeros", np.zeros(count, np.float32)),
    )


def _lp_norm(call: ImportCall) -> str:
    """Emit ``x / norm(x)`` along an axis; zeros stay zeros."""
    axis = (call.axis(default=-1),)
    x = call.tensor(0)
    if call.integer("p", 2) == 1:
        norm = call.inner(ops.Reduce("Sum", axis), call.inner(ops.Unary("Abs"), x))
    else:
        square = call.inner(ops.Mul(), x, x)
        norm = call.inner(ops.Unary("Sqrt"), call.inner(ops.Reduce("Sum", axis), square))
    return call.result(ops.Div(), x, call.inner(ops.Clip(_SMALLEST_NORM, inf), norm))


_SMALLEST_NORM = 1e-30


def _lrn(call: ImportCall) -> str:
    """Emit ``x / (bias + alpha / size * sum of squares of neighboring channels) ** beta``.

    The sum over a window of channels is a 1x1 convolution with a band of ones.
    """
    channels, spatial, size = call.shape()[1], call.rank() - 2, call.integer("size", 1)
    if not spatial:
        raise Unsupported("it has no spatial dimensions")
    index = np.arange(channels)
    distance = index[None, :] - index[:, None]
    near = (distance >= -((size - 1) // 2)) & (distance <= size // 2)
    weight = near.astype(np.float32) * np.float32(call.number("alpha", 1e-4) / size)
    bias = np.full(channels, call.number("bias", 1.0), np.float32)
    x, ones = call.tensor(0), (1,) * spatial
    operands = [
        call.inner(ops.Mul(), x, x),
        call.const("band", weight.reshape(channels, channels, *ones)),
        call.const("bias", bias),
    ]
    base = call.inner(ops.Conv(ones, (0,) * (2 * spatial), ones), *operands)
    power = call.const("beta", np.float32(-call.number("beta", 0.75)))
    return call.result(ops.Mul(), x, call.inner(ops.Pow(), base, power))


# --- softmax --------------------------------------------------------------------


def _softmax(make: Callable[[int], Op], call: ImportCall) -> str:
    """Flatten all dimensions from ``axis`` on before opset 13."""
    shape, rank = call.shape(), call.rank()
    axis = call.axis(default=-1 if call.opset >= 13 else 1)
    if call.opset >= 13 or prod(shape[axis + 1 :]) == 1:
        return call.result(make(axis), call.tensor(0))
    if prod(shape[axis:-1]) == 1:
        return call.result(make(rank - 1), call.tensor(0))
    flat = call.inner(ops.Reshape((prod(shape[:axis]), prod(shape[axis:]))), call.tensor(0))
    return call.result(ops.Reshape(shape), call.inner(make(1), flat))


def _hardmax(call: ImportCall) -> str:
    """Emit ``1 where the index is that of the maximum, else 0``; flatten as :func:`_softmax`."""
    shape, axis = call.shape(), call.axis(default=-1 if call.opset >= 13 else 1)
    if call.opset >= 13 or prod(shape[axis + 1 :]) == 1:
        return call.result(ops.Where(), *_one_hot(call, call.tensor(0), axis))
    flat = call.inner(ops.Reshape((prod(shape[:axis]), prod(shape[axis:]))), call.tensor(0))
    return call.result(ops.Reshape(shape), call.inner(ops.Where(), *_one_hot(call, flat, 1)))


def _one_hot(call: ImportCall, x: str, axis: int) -> tuple[str, str, str]:
    """Compare every index along an axis with that of the maximum; return operands of a Where."""
    shape = call.scope.builder.type(x).shape
    largest = call.inner(ops.ArgMax(axis), x)
    indices = np.arange(shape[axis]).reshape(-1, *(1,) * (len(shape) - axis - 1))
    equal = call.inner(ops.Compare("=="), call.const("indices", indices), largest)
    return equal, call.const("one", np.float32(1)), call.const("zero", np.float32(0))


# --- reductions -----------------------------------------------------------------


def _axes(call: ImportCall) -> Ints | None:
    """Return the axes to reduce; None if nothing is reduced.

    They are an attribute in older opsets and an operand in newer ones. Without axes all are
    reduced, or none with ``noop_with_empty_axes``.
    """
    found = call.ints("axes", operand=1)
    if found:
        return normal_axes(found, call.rank())
    return None if call.flag("noop_with_empty_axes") else tuple(range(call.rank()))


def _reduce(function: str, call: ImportCall) -> str:
    axes = _axes(call)
    if call.type().dtype is DType.BOOL:
        raise Unsupported("it works on bool")
    if axes is None:
        return call.tensor(0)
    op = ops.Reduce(function, axes, call.flag("keepdims", True))
    return call.result(op, call.tensor(0))


def _composed(before: str, function: str, after: str, call: ImportCall) -> str:
    """Emit ``after(reduce(before(x)))``, where either function may be absent."""
    axes = _axes(call)
    if axes is None:
        raise Unsupported("it reduces over no axes")
    x = call.tensor(0)
    if before == "Square":
        x = call.inner(ops.Mul(), x, x)
    elif before:
        x = call.inner(ops.Unary(before), x)
    reduction = ops.Reduce(function, axes, call.flag("keepdims", True))
    if not after:
        return call.result(reduction, x)
    return call.result(ops.Unary(after), call.inner(reduction, x))


def _log_sum_exp(call: ImportCall) -> str:
    """Emit ``max + log(sum(exp(x - max)))``, which does not overflow."""
    axes = _axes(call)
    if axes is None:
        raise Unsupported("it reduces over no axes")
    x = call.tensor(0)
    top = call.inner(ops.Reduce("Max", axes, keepdims=True), x)
    lowered = call.inner(ops.Unary("Exp"), call.inner(ops.Sub(), x, top))
    total = call.inner(ops.Unary("Log"), call.inner(ops.Reduce("Sum", axes), lowered))
    if call.flag("keepdims", True):
        return call.result(ops.Add(), total, top)
    shape = tuple(size for i, size in enumerate(call.shape()) if i not in axes)
    return call.result(ops.Reshape(shape), call.inner(ops.Add(), total, top))


def _arg(sign: str, call: ImportCall) -> str:
    if call.flag("select_last_index"):
        raise Unsupported("it selects the last of equal elements")
    x = call.tensor(0)
    if sign == "min":
        x = _in_opposite_order(call, x)
    return call.result(ops.ArgMax(call.axis(), call.flag("keepdims", True)), x)


def _in_opposite_order(call: ImportCall, x: str) -> str:
    """Emit ``-x``, of integers ``-1 - x``: the smallest one has no negative of its own type."""
    dtype = call.type().dtype
    if dtype.is_float:
        return call.inner(ops.Unary("Neg"), x)
    if not dtype.is_integer or dtype.qmin == 0:
        raise Unsupported(f"it works on {dtype.value}")
    minus_one = call.const("minus_one", np.full((), -1, dtype.numpy))
    return call.inner(ops.Sub(), minus_one, x)


def _top_k(call: ImportCall) -> tuple[str, str]:
    """Read the count from an attribute before opset 10; the smallest are the largest negatives."""
    need_float(call)
    old = call.attribute("k")
    count = int(call.need(1, "count").reshape(())) if old is None else old.as_int()
    axis, x = call.axis(default=-1), call.tensor(0)
    op = ops.TopK(axis, count)
    if call.flag("largest", True):
        values, indices = call.results(op, (x,), 2)
        return values, indices
    lowest = call.scope.fresh(f"{call.name}/lowest")
    _, indices = call.named(op, (call.inner(ops.Unary("Neg"), x),), [lowest, call.output_name(1)])
    return call.result(ops.Unary("Neg"), lowest), indices


NORMALIZING: Mapping[str, Mapper] = {
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "InstanceNormalization": _instance_norm,
    "GroupNormalization": _group_norm,
    "LpNormalization": _lp_norm,
    "LRN": _lrn,
    "Softmax": partial(_softmax, ops.Softmax),
    "LogSoftmax": partial(_softmax, ops.LogSoftmax),
    "Hardmax": _hardmax,
    "ReduceMean": partial(_reduce, "Mean"),
    "ReduceSum": partial(_reduce, "Sum"),
    "ReduceMax": partial(_reduce, "Max"),
    "ReduceMin": partial(_reduce, "Min"),
    "ReduceProd": partial(_reduce, "Prod"),
    "ReduceL1": partial(_composed, "Abs", "Sum", ""),
    "ReduceL2": partial(_composed, "Square", "Sum", "Sqrt"),
    "ReduceSumSquare": partial(_composed, "Square", "Sum", ""),
    "ReduceLogSum": partial(_composed, "", "Sum", "Log"),
    "ReduceLogSumExp": _log_sum_exp,
    "ArgMax": partial(_arg, "max"),
    "ArgMin": partial(_arg, "min"),
    "TopK": _top_k,
}
