"""Float kernels, both layouts. Operands arrive as real numbers (see ``through_float``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import numpy as np

from qhal.ir import ops
from qhal.ir.ops import Layout, Op
from qhal.ir.resampling import coordinates
from qhal.quant.oracle import movement
from qhal.quant.oracle import window as windows
from qhal.quant.oracle.context import Kernel, KernelContext, Operands, operands_of
from qhal.quant.oracle.functions import FUNCTIONS, function_of
from qhal.quant.oracle.movement import pool_window
from qhal.quant.oracle.opaque import build_opaque
from qhal.quant.oracle.recurrent import build_gru, build_lstm, build_rnn
from qhal.quant.oracle.through_float import Builder
from qhal.quant.oracle.values import Array
from qhal.quant.oracle.weighted import GEOMETRIES, activate, build_weighted

# --- element-wise -------------------------------------------------------------


def build_function(context: KernelContext) -> Kernel:
    """Build a function of one operand."""
    function = function_of(context.op)
    return lambda operands: (function(operands_of(operands)[0]),)


def divide(a: Array, b: Array) -> Array:
    """Compute the quotient; integers divide towards zero, as ONNX has it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if np.issubdtype(a.dtype, np.integer):
            return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)), a.dtype)
        return np.asarray(a / b)


ARITHMETIC: Mapping[type[Op], Callable[[Array, Array], Array]] = {
    ops.Add: np.add,
    ops.Sub: np.subtract,
    ops.Mul: np.multiply,
    ops.Div: divide,
}
"""Operators of two operands that may fuse an activation."""

_PAIRS: Mapping[type[Op], Callable[[Array, Array], Array]] = {
    ops.Pow: np.power,
    ops.Maximum: np.maximum,
    ops.Minimum: np.minimum,
    ops.PRelu: lambda x, slope: np.where(x >= 0, x, x * slope),
    ops.MatMul: np.matmul,
}

_RELATIONS: Mapping[str, Callable[[Array, Array], Array]] = {
    "==": np.equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


def _build_arithmetic(context: KernelContext) -> Kernel:
    function, activation = ARITHMETIC[type(context.op)], context.op.fused
    return lambda operands: (activate(function(*operands_of(operands)), activation),)


def build_pair(context: KernelContext) -> Kernel:
    """Build a function of two operands without activation."""
    function = _PAIRS[type(context.op)]
    return lambda operands: (function(*operands_of(operands)),)


def build_relation(context: KernelContext) -> Kernel:
    """Build a relation of two operands."""
    op = context.op
    assert isinstance(op, ops.Compare)
    relation = _RELATIONS[op.relation]
    return lambda operands: (relation(*operands_of(operands)),)


_LOGICAL: Mapping[str, Callable[[Array, Array], Array]] = {
    "And": np.logical_and,
    "Or": np.logical_or,
    "Xor": np.logical_xor,
}


def _build_logical(context: KernelContext) -> Kernel:
    op = context.op
    assert isinstance(op, ops.Logical)
    function = _LOGICAL[op.function]
    return lambda operands: (function(*operands_of(operands)),)


def _build_mod(context: KernelContext) -> Kernel:
    op = context.op
    assert isinstance(op, ops.Mod)
    function = np.fmod if op.truncates else np.mod
    return lambda operands: (function(*operands_of(operands)),)


def _build_cast(context: KernelContext) -> Kernel:
    op = context.op
    assert isinstance(op, ops.Cast)
    return lambda operands: (operands_of(operands)[0].astype(op.to.numpy),)


# --- normalization and reduction ----------------------------------------------


def softmax(x: Array, axis: int) -> Array:
    """Compute softmax over an axis."""
    grown = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(grown / grown.sum(axis=axis, keepdims=True))


def _build_softmax(context: KernelContext) -> Kernel:
    op = context.op
    assert isinstance(op, ops.Softmax)
    return lambda operands: (softmax(operands_of(operands)[0], op.axis),)


def _build_log_softmax(context: KernelContext) -> Kernel:
    op = context.op
    assert isinstance(op, ops.LogSoftmax)

    def run(operands: Operands) -> tuple[Array, ...]:
        (x,) = operands_of(operands)
        shifted = x - x.max(axis=op.axis, keepdims=True)
        return (shifted - np.log(np.exp(shifted).sum(axis=op.axis, keepdims=True)),)

    return run


def _normalize(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    mean = x.mean(axis=axes, keepdims=True)
    centered = x - mean
    variance = np.square(centered).mean(axis=axes, keepdims=True)
    return np.asarray(centered / np.sqrt(variance + x.dtype.type(epsilon)))


def _build_layer_norm(context: KernelContext) -> Kernel:
    op = context.op
    assert isinstance(op, ops.LayerNorm)

    def run(operands: Operands) -> tuple[Array, ...]:
        x, scale, *bias = operands_of(operands)
        found = _normalize(x, tuple(range(op.axis, x.ndim)), op.epsilon) * scale
        return (found + bias[0] if bias else found,)

    return run


def _build_instance_norm(context: KernelContext) -> Kernel:
    op = context.op
    assert isinstance(op, ops.InstanceNorm)

    def run(operands: Operands) -> tuple[Array, ...]:
        x, scale, bias = operands_of(operands)
        x = windows.channels_last(x, op.layout)
        found = _normalize(x, tuple(range(1, x.ndim - 1)), op.epsilon) * scale + bias
        return (windows.from_channels_last(found, op.layout),)

    return run


REDUCTIONS: Mapping[str, Callable[..., Array]] = {
    "Mean": np.mean,
    "Sum": np.sum,
    "Max": np.max,
    "Min": np.min,
    "Prod": np.prod,
}


def build_reduce(context: KernelContext) -> Kernel:
    """Build a reduction over axes."""
    op = context.op
    assert isinstance(op, ops.Reduce)
    function = REDUCTIONS[op.function]

    def run(operands: Operands) -> tuple[Array, ...]:
        (x,) = operands_of(operands)
        return (np.asarray(function(x, axis=op.axes, keepdims=op.keepdims)),)

    return run


def build_arg_max(context: KernelContext) -> Kernel:
    """Build the index of the first largest element."""
    op = context.op
    assert isinstance(op, ops.ArgMax)

    def run(operands: Operands) -> tuple[Array, ...]:
        (x,) = operands_of(operands)
        return (np.argmax(x, axis=op.axis, keepdims=op.keepdims).astype(op.to.numpy),)

    return run


def _build_top_k(context: KernelContext) -> Kernel:
    op = context.op
    assert isinstance(op, ops.TopK)

    def run(operands: Operands) -> tuple[Array, ...]:
        (x,) = operands_of(operands)
        order = np.argsort(-x, axis=op.axis, kind="stable")
        best = np.take(order, np.arange(op.count), op.axis)
        return np.take_along_axis(x, best, op.axis), best.astype(op.to.numpy)

    return run


# --- pooling and resampling ---------------------------------------------------


def _build_average_pool(context: KernelContext) -> Kernel:
    op = context.op
    assert isinstance(op, ops.AveragePool)
    window = pool_window(context, op)
    size = windows.spatial(context.input_type().shape, op.layout)
    counts = windows.count_inside(window, size)
    divisor = np.float32(prod(op.kernel)) if op.count_include_pad else counts.astype(np.float32)

    def run(operands: Operands) -> tuple[Array, ...]:
        x = windows.channels_last(operands_of(operands)[0], op.layout)
        sums = windows.reduce_windows(windows.pad(x, window, 0, x.dtype), window, np.add)
        return (windows.from_channels_last(sums / divisor, op.layout),)

    return run


def build_resize(context: KernelContext) -> Kernel:
    """Build resampling, nearest or linear."""
    op = context.op
    assert isinstance(op, ops.Resize)
    return (
        movement.build_resize_nearest(context) if op.mode == "nearest" else _build_linear(context)
    )


def _build_linear(context: KernelContext) -> Kernel:
    op = context.op
    assert isinstance(op, ops.Resize)
    sizes = windows.spatial(context.input_type().shape, op.layout)
    first = 2 if op.layout is Layout.NCHW else 1

    def run(operands: Operands) -> tuple[Array, ...]:
        (x,) = operands_of(operands)
        for axis, (size, out) in enumerate(zip(sizes, op.sizes, strict=True), first):
            if size != out:
                x = _interpolate(
                    x, axis, np.clip(coordinates(op.coordinates, size, out), 0, size - 1)
                )
        return (x,)

    return run


def _interpolate(x: Array, axis: int, place: Array) -> Array:
    low = np.floor(place).astype(np.intp)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    column = [-1 if i == axis else 1 for i in range(x.ndim)]
    weight = (place - low).astype(x.dtype).reshape(column)
    return np.asarray(np.take(x, low, axis) * (1 - weight) + np.take(x, high, axis) * weight)


FLOAT: Mapping[type[Op], Builder] = {
    **dict.fromkeys(FUNCTIONS, build_function),
    **dict.fromkeys(ARITHMETIC, _build_arithmetic),
    **dict.fromkeys(_PAIRS, build_pair),
    **dict.fromkeys(GEOMETRIES, build_weighted),
    **dict.fromkeys(movement.MOVES, movement.build_move),
    ops.Compare: build_relation,
    ops.Logical: _build_logical,
    ops.Mod: _build_mod,
    ops.Cast: _build_cast,
    ops.Where: movement.build_where,
    ops.Softmax: _build_softmax,
    ops.LogSoftmax: _build_log_softmax,
    ops.LayerNorm: _build_layer_norm,
    ops.InstanceNorm: _build_instance_norm,
    ops.Reduce: build_reduce,
    ops.ArgMax: build_arg_max,
    ops.TopK: _build_top_k,
    ops.MaxPool: movement.build_max_pool,
    ops.AveragePool: _build_average_pool,
    ops.Resize: build_resize,
    ops.Concat: movement.build_concat,
    ops.Split: movement.build_split,
    ops.Pad: movement.build_pad,
    ops.Gather: movement.build_gather,
    ops.Lstm: build_lstm,
    ops.Gru: build_gru,
    ops.Rnn: build_rnn,
    ops.Opaque: build_opaque,
}
"""Operator -> builder of its float kernel: every canonical operator is here."""
