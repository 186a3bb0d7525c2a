"""Element-wise integer kernels of LiteRT's reference implementation."""

from __future__ import annotations

import numpy as np

from qhal.ir import ops
from qhal.quant.model import QuantParams
from qhal.quant.oracle.context import Kernel, KernelContext, Operands, operands_of
from qhal.quant.oracle.fixed_point import (
    INT32_MAX,
    Int64,
    Multiplier,
    rounding_shift,
)
from qhal.quant.oracle.rescale import activation_range, clamp_range
from qhal.quant.oracle.through_float import by_integers
from qhal.quant.oracle.values import Array


def centered(x: Array, params: QuantParams) -> Int64:
    """Subtract the zero point from integers."""
    return x.astype(np.int64) - int(params.zero_point)


def clamped(x: Int64, params: QuantParams, limits: tuple[int, int] | None = None) -> Array:
    """Add the zero point, clamp, convert."""
    low, high = limits or (params.dtype.qmin, params.dtype.qmax)
    return np.clip(x + int(params.zero_point), low, high).astype(params.dtype.numpy)


def build_sum(context: KernelContext) -> Kernel:
    """Build Add and Sub: both operands in units of 2**-left_shift of twice the larger scale.

    (tflite/kernels/add.cc, sub.cc; reference/integer_ops/add.h.) The left shift is 20 for
    8-bit operands, 15 for 16-bit ones.
    """
    op = context.op
    assert isinstance(op, ops.Add | ops.Sub)
    sources, output = [context.input_params(0), context.input_params(1)], context.output_params()
    left_shift = 20 if output.dtype.bits == 8 else 15
    twice = np.float64(2 * max(np.float32(p.scale) for p in sources))
    inputs = [Multiplier.of(np.float64(p.scale) / twice) for p in sources]
    total = Multiplier.of(twice / np.float64(np.float32(1 << left_shift) * output.scale))
    limits = activation_range(op.activation, output, context.arithmetic)
    sign = -1 if isinstance(op, ops.Sub) else 1

    def run(operands: Operands) -> tuple[Array, ...]:
        a, b = (
            multiplier.apply(centered(x, params) << left_shift)
            for x, params, multiplier in zip(operands_of(operands), sources, inputs, strict=True)
        )
        return (clamped(total.apply(a + sign * b), output, limits),)

    return run


def build_product(context: KernelContext) -> Kernel:
    """Build Mul: one rescaling of the product (tflite/kernels/mul.cc, factors in float32)."""
    op = context.op
    assert isinstance(op, ops.Mul)
    left, right, output = context.input_params(0), context.input_params(1), context.output_params()
    multiplier = Multiplier.of(np.float32(left.scale * right.scale) / output.scale)
    limits = activation_range(op.activation, output, context.arithmetic)

    def run(operands: Operands) -> tuple[Array, ...]:
        a, b = operands_of(operands)
        product = centered(a, left) * centered(b, right)
        return (clamped(multiplier.apply(product), output, limits),)

    return run


# --- one operand --------------------------------------------------------------

_BOUNDS = {ops.Relu: (0.0, np.inf), ops.Relu6: (0.0, 6.0)}


def build_clip(context: KernelContext) -> Kernel:
    """Build Relu, Relu6 and Clip: rescale, then clamp (``QuantizedReluX``, activations.cc)."""
    op = context.op
    low, high = (op.low, op.high) if isinstance(op, ops.Clip) else _BOUNDS[type(op)]
    source, output = context.input_params(), context.output_params()
    multiplier = Multiplier.of(np.float32(source.scale / output.scale))
    limits = clamp_range(low, high, output, context.arithmetic)
    return by_integers(
        source, lambda x: clamped(multiplier.apply(centered(x, source)), output, limits)
    )


def build_leaky_relu(context: KernelContext) -> Kernel:
    """Build LeakyRelu (reference/leaky_relu.h): one multiplier for each sign."""
    op = context.op
    assert isinstance(op, ops.LeakyRelu)
    source, output = context.input_params(), context.output_params()
    scale = np.float32(source.scale * np.float32(abs(op.alpha)))
    positive = Multiplier.of(np.float32(source.scale / output.scale))
    negative = Multiplier.of(np.float32(scale / output.scale))
    sign = -1 if op.alpha < 0 else 1

    def function(x: Array) -> Array:
        value = centered(x, source)
        scaled = np.where(value >= 0, positive.apply(value), sign * negative.apply(value))
        return clamped(scaled, output)

    return by_integers(source, function)


def build_prelu(context: KernelContext) -> Kernel:
    """Build PRelu (reference/prelu.h)."""
    source, slope, output = (
        context.input_params(0),
        context.input_params(1),
        context.output_params(),
    )
    positive = Multiplier.of(np.float32(source.scale / output.scale))
    product = np.float32(source.scale * slope.scale)
    negative = Multiplier.of(np.float32(product / output.scale))

    def run(operands: Operands) -> tuple[Array, ...]:
        x, alpha = operands_of(operands)
        value = centered(x, source)
        below = negative.apply(value * centered(alpha, slope))
        return (clamped(np.where(value >= 0, positive.apply(value), below), output),)

    return run


def build_abs(context: KernelContext) -> Kernel:
    """Build Abs (tflite/kernels/elementwise.cc)."""
    source, output = context.input_params(), context.output_params()
    multiplier = Multiplier.of(np.float32(source.scale / output.scale))
    return by_integers(
        source, lambda x: clamped(multiplier.apply(np.abs(centered(x, source))), output)
    )


def build_hard_swish(context: KernelContext) -> Kernel | None:
    """Build HardSwish of 8-bit integers in 16-bit fixed point (reference/hard_swish.h)."""
    source, output = context.input_params(), context.output_params()
    if source.dtype.bits > 8:
        return None
    fine_scale = np.float32(np.float32(1 / 128) * source.scale)
    relu_scale = np.float32(3 / 32768)
    to_output = Multiplier.of(np.float32(fine_scale / output.scale))
    to_relu = Multiplier.of(np.float32(fine_scale / relu_scale))

    def function(x: Array) -> Array:
        fine = centered(x, source) << 7
        value = _high_mul16(fine, _to_int16(to_output.mantissa))
        gate = _hard_swish_gate(fine, to_relu)
        doubled = np.trunc(gate * value / (1 << 15)).astype(np.int64)
        scaled = rounding_shift(doubled, -to_output.shift)
        return clamped(scaled, output)

    return by_integers(source, function)


def _hard_swish_gate(fine: Int64, to_relu: Multiplier) -> Int64:
    """Compute min(max(x + 3, 0), 6) / 6 with 15 fractional bits."""
    shift = int(to_relu.shift)
    value = _int16(fine << (shift - 1)) if shift > 0 else fine
    value = _high_mul16(value, _to_int16(to_relu.mantissa))
    if shift > 0:
        value = _int16(value << 1)
    elif shift < 0:
        value = rounding_shift(value, -shift)
    return (value + (1 << 15)) >> 1


def _high_mul16(a: Int64, b: Int64) -> Int64:
    """Compute 16-bit ``SaturatingRoundingDoublingHighMul``: round half up."""
    return _int16((a * b + (1 << 14)) >> 15)


def _int16(x: Int64) -> Int64:
    return np.clip(x, -(1 << 15), (1 << 15) - 1)


def _to_int16(mantissa: Int64) -> Int64:
    """Compute ``DownScaleInt32ToInt16Multiplier``."""
    return np.where(mantissa >= INT32_MAX - (1 << 15), 0x7FFF, (mantissa + (1 << 15)) >> 16)
