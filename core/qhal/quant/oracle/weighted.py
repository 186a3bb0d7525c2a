"""Convolutions and fully connected layers, in float and in integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qhal.ir import ops
from qhal.ir.ops import Activation, Layout, Op
from qhal.quant.arithmetic import broadcast_params
from qhal.quant.model import QuantParams
from qhal.quant.oracle import window as windows
from qhal.quant.oracle.context import Kernel, KernelContext, Operands, operands_of, scalar
from qhal.quant.oracle.rescale import activation_range, exact_rescaler, rescaler
from qhal.quant.oracle.values import Array
from qhal.quant.oracle.window import Epilogue, SlidingWindow
from qhal.quant.weight_rows import output_axis
from qhal.targets.capability import Arithmetic

Weighted = ops.Conv | ops.DepthwiseConv | ops.ConvTranspose | ops.FullyConnected


@dataclass(frozen=True, eq=False)
class Numbers:
    """What a weighted operator multiplies, and what happens to the sums.

    Attributes:
        weight: real numbers, or integers less their zero point, in the type of the products.
        zero_point: taken from every input element; padding is zero after that.
        epilogue: from sums (M, O) to results (M, O).
        dtype: type of the results.
    """

    weight: Array
    zero_point: int
    epilogue: Epilogue
    dtype: npt.DTypeLike

    def center(self, x: Array) -> Array:
        """Subtract the zero point from the input, in the type of the products."""
        centered = x.astype(self.weight.dtype, copy=bool(self.zero_point))
        if self.zero_point:
            centered -= self.weight.dtype.type(self.zero_point)
        return centered


Geometry = Callable[[KernelContext, Numbers], Kernel]


def build_weighted(context: KernelContext) -> Kernel:
    """Build a weighted operator's kernel: integer for a quantized node, float for any other.

    Constants are prepared once. A computed weight arrives as the other operands do: integers
    for a quantized node, real numbers otherwise.
    """
    geometry = GEOMETRIES[type(context.op)]
    numbers = _integer_numbers if context.integer else _real_numbers
    if context.constant(1) is not None and (context.constant(2) is not None or not context.has(2)):
        weight, bias = context.constant(1), context.constant(2)
        if not context.integer:
            weight, bias = context.real_value(1), context.real_value(2)
        assert weight is not None
        return geometry(context, numbers(context, weight, bias))

    def run(operands: Operands) -> tuple[Array, ...]:
        weight = operands[1]
        assert weight is not None
        return geometry(context, numbers(context, weight, operands[2] if context.has(2) else None))(
            operands
        )

    return run


def _real_numbers(context: KernelContext, weight: Array, bias: Array | None) -> Numbers:
    return Numbers(
        weight.astype(np.float32, copy=False),
        0,
        _real_epilogue(bias, context.op.fused),
        np.float32,
    )


def _real_epilogue(bias: Array | None, activation: Activation) -> Epilogue:
    def run(sums: Array) -> Array:
        total = sums if bias is None else sums + bias
        return activate(total, activation)

    return run


def activate(x: Array, activation: Activation) -> Array:
    """Apply a fused activation to real numbers."""
    if activation is Activation.NONE:
        return x
    high = 6 if activation is Activation.RELU6 else None
    return np.clip(x, 0, high)


def _integer_numbers(context: KernelContext, weight: Array, bias: Array | None) -> Numbers:
    source, output = context.input_params(0), context.output_params()
    params = context.input_params(1)
    _, zero_point = scalar(source)
    centered = centered_weight(weight, params)
    largest = max(source.dtype.qmax - zero_point, zero_point - source.dtype.qmin)
    work = windows.exact_type(float(largest), centered, output_axis(context.op))
    factors = _factors(context)
    limits = activation_range(context.op.fused, output, context.arithmetic)
    # LiteRT 2's reference kernel of FullyConnected does not use the fixed-point multiplier.
    if context.arithmetic is Arithmetic.FIXED_POINT and isinstance(context.op, ops.FullyConnected):
        epilogue = exact_rescaler(factors, bias, output, limits)
    else:
        wide = source.dtype.bits > 8 and (bias is None or bias.dtype == np.int64)
        epilogue = rescaler(factors, bias, output, limits, context.arithmetic, wide)
    return Numbers(centered.astype(work), zero_point, epilogue, output.dtype.numpy)


def _factors(context: KernelContext) -> npt.NDArray[np.float64]:
    """Compute ``s_input * s_weight / s_output``, in the precision of the runtime's division."""
    work = np.float64 if context.arithmetic.is_fixed_point else np.float32
    source, weight, output = (
        context.input_params(0),
        context.input_params(1),
        context.output_params(),
    )
    product = source.scale.astype(work) * weight.scale.astype(work)
    factors = np.asarray(product / output.scale.astype(work), np.float64)
    if isinstance(context.op, ops.ConvTranspose) and factors.ndim:
        factors = np.tile(factors, context.op.groups)
    return factors


def centered_weight(weight: Array, params: QuantParams) -> Array:
    """Subtract the zero point, in the smallest type that surely holds the result."""
    work = np.int16 if params.dtype.bits <= 8 else np.int64
    _, zero_point = broadcast_params(params, weight.shape)
    return np.asarray(np.subtract(weight, zero_point.astype(work), dtype=work))


# --- geometries ---------------------------------------------------------------


def _conv(context: KernelContext, given: Numbers) -> Kernel:
    op = context.op
    assert isinstance(op, ops.Conv)
    taps = np.moveaxis(given.weight, 1, -1) if op.layout is Layout.NCHW else given.weight
    window = _window(context, op, taps.shape[1:-1])
    rows = taps.reshape(op.groups, taps.shape[0] // op.groups, -1)
    matrix = np.ascontiguousarray(rows.swapaxes(1, 2))

    def run(operands: Operands) -> tuple[Array, ...]:
        x = _padded(operands, op.layout, window, given)
        found = windows.convolve(x, matrix, window, given.epilogue, given.dtype)
        return (windows.from_channels_last(found, op.layout),)

    return run


def _depthwise(context: KernelContext, given: Numbers) -> Kernel:
    op = context.op
    assert isinstance(op, ops.DepthwiseConv)
    taps = np.moveaxis(given.weight, 0, -1)[0] if op.layout is Layout.NCHW else given.weight[0]
    window = _window(context, op, taps.shape[:-1])
    matrix = np.ascontiguousarray(taps.reshape(-1, taps.shape[-1]))

    def run(operands: Operands) -> tuple[Array, ...]:
        x = _padded(operands, op.layout, window, given)
        if op.multiplier > 1:
            x = np.repeat(x, op.multiplier, axis=-1)
        found = windows.convolve_depthwise(x, matrix, window, given.epilogue, given.dtype)
        return (windows.from_channels_last(found, op.layout),)

    return run


def _transposed(context: KernelContext, given: Numbers) -> Kernel:
    op = context.op
    assert isinstance(op, ops.ConvTranspose)
    matrix = _transposed_weight(given.weight, op)
    kernel = given.weight.shape[2:] if op.layout is Layout.NCHW else given.weight.shape[1:-1]
    size = windows.spatial(context.input_type().shape, op.layout)
    window = SlidingWindow(kernel, op.strides, op.pads[: len(kernel)], op.dilations, size)
    out = windows.spatial(context.output_type().shape, op.layout)

    def run(operands: Operands) -> tuple[Array, ...]:
        x = given.center(windows.channels_last(operands_of(operands)[0], op.layout))
        full = windows.crop(windows.scatter(x, matrix, window), window.begins, out)
        found = given.epilogue(full.reshape(-1, full.shape[-1])).reshape(full.shape)
        return (windows.from_channels_last(found.astype(given.dtype, copy=False), op.layout),)

    return run


def _transposed_weight(weight: Array, op: ops.ConvTranspose) -> Array:
    """Reshape the weight to (groups, taps, I/groups, O/groups)."""
    if op.layout is Layout.NHWC:
        taps = weight.reshape(weight.shape[0], -1, weight.shape[-1])
        return np.ascontiguousarray(taps.transpose(1, 2, 0))[np.newaxis]
    inputs, width = weight.shape[:2]
    grouped = weight.reshape(op.groups, inputs // op.groups, width, -1)
    return np.ascontiguousarray(grouped.transpose(0, 3, 1, 2))


def _fully_connected(context: KernelContext, given: Numbers) -> Kernel:
    matrix = np.ascontiguousarray(given.weight.T)

    def run(operands: Operands) -> tuple[Array, ...]:
        x = given.center(operands_of(operands)[0])
        found = given.epilogue(x.reshape(-1, x.shape[-1]) @ matrix)
        return (found.reshape(*x.shape[:-1], -1).astype(given.dtype, copy=False),)

    return run


GEOMETRIES: Mapping[type[Op], Geometry] = {
    ops.Conv: _conv,
    ops.DepthwiseConv: _depthwise,
    ops.ConvTranspose: _transposed,
    ops.FullyConnected: _fully_connected,
}


def _window(
    context: KernelContext, op: ops.Conv | ops.DepthwiseConv, kernel: ops.Ints
) -> SlidingWindow:
    out = windows.spatial(context.output_type().shape, op.layout)
    return SlidingWindow(kernel, op.strides, op.pads[: len(kernel)], op.dilations, out)


def _padded(operands: Operands, layout: Layout, window: SlidingWindow, given: Numbers) -> Array:
    x = windows.channels_last(operands_of(operands)[0], layout)
    if x.shape[1:-1] == window.padded and not any(window.begins):
        return given.center(x)
    padded = windows.pad(x, window, given.zero_point, given.weight.dtype)
    if given.zero_point:
        padded -= given.weight.dtype.type(given.zero_point)
    return padded
