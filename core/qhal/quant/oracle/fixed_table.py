"""Functions that LiteRT's integer kernels look up in a table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qhal.ir import ops
from qhal.quant.model import QuantParams
from qhal.quant.oracle.context import Kernel, KernelContext, scalar
from qhal.quant.oracle.fixed_elementwise import build_abs, centered, clamped
from qhal.quant.oracle.fixed_point import (
    INT32_MAX,
    Int64,
    Multiplier,
    doubling_high_mul,
    leading_zeros,
    rounding_shift,
    saturating_shift_left,
)
from qhal.quant.oracle.functions import function_of
from qhal.quant.oracle.integer import IntegerBuilder
from qhal.quant.oracle.lut import sigmoid_table, table8, table16
from qhal.quant.oracle.through_float import by_integers, unary
from qhal.quant.oracle.values import Array

Function = Callable[[Array], Array]


def build_table(context: KernelContext) -> Kernel:
    """Build Exp, Elu, Gelu and 8-bit Sigmoid and Tanh (activations.cc, exp.cc)."""
    return _by_table(context, function_of(context.op))


def _by_table(context: KernelContext, function: Function) -> Kernel:
    source, output = context.input_params(), context.output_params()
    make = table8 if source.dtype.bits == 8 else table16
    return unary(make(source, output, function))


def _build_log(context: KernelContext) -> Kernel:
    """Build Log; what is not positive becomes the smallest result (``LogLUTPrepare``)."""
    output = context.output_params()
    scale, zero_point = scalar(output)
    lowest = np.float32(output.dtype.qmin - zero_point) * scale

    def function(x: Array) -> Array:
        return np.where(x <= 0, lowest, np.log(np.maximum(x, np.finfo(np.float32).tiny)))

    return _by_table(context, function)


def _build_sqrt(context: KernelContext) -> Kernel:
    """Build Sqrt in float32, cut towards zero (``SqrtEvalQuantized``, elementwise.cc).

    The kernel rejects negative numbers; here they give the zero point.
    """
    source, output = context.input_params(), context.output_params()

    def function(x: Array) -> Array:
        root = np.sqrt(np.maximum(centered(x, source).astype(np.float32) * source.scale, 0))
        return clamped(np.trunc(root / output.scale).astype(np.int64), output)

    return by_integers(source, function)


def _build_rsqrt(context: KernelContext) -> Kernel:
    """Build Rsqrt: 8 bits in fixed point, 16 bits from a table (elementwise.cc)."""
    source, output = context.input_params(), context.output_params()
    if source.dtype.bits > 8:
        largest = np.float32(32767) * np.float32(output.scale)
        tiny = np.finfo(np.float32).tiny
        return _by_table(
            context, lambda x: np.where(x <= 0, largest, 1 / np.sqrt(np.maximum(x, tiny)))
        )
    factor = 1 / np.float64(np.sqrt(np.float32(source.scale)) * np.float32(output.scale))
    return by_integers(
        source, lambda x: _rsqrt8(centered(x, source), Multiplier.of(factor), output)
    )


def _rsqrt8(value: Int64, factor: Multiplier, output: QuantParams) -> Array:
    mantissa, shift = _inverse_sqrt(np.maximum(value, 1))
    extra = 20  # fractional bits in between
    root = Multiplier(mantissa, shift + extra).apply(np.int64(1) + 0 * value)
    found = Multiplier(factor.mantissa, factor.shift - extra).apply(root)
    return np.where(value <= 0, output.dtype.qmax, clamped(found, output)).astype(np.int8)


def _inverse_sqrt(x: Int64) -> tuple[Int64, Int64]:
    """Compute 1 / sqrt of integers 1 to 255 (``GetInvSqrtQuantizedMultiplierExp``, common.h)."""
    pairs = (leading_zeros(x) - 1) // 2 - 1
    half_input = rounding_shift((x << (2 * pairs)) >> 1, 1)  # FixedPoint<int32, 3>
    three_halves = np.int64((1 << 28) + (1 << 27))
    root = np.full(x.shape, 1 << 28, np.int64)
    for _ in range(5):
        cube = doubling_high_mul(doubling_high_mul(root, root), root)
        cube = saturating_shift_left(cube, 6)
        difference = doubling_high_mul(three_halves, root) - doubling_high_mul(half_input, cube)
        root = saturating_shift_left(difference, 3)
    root = doubling_high_mul(root, np.int64(1518500250))  # sqrt(2) / 2
    shift = 11 - pairs
    mantissa = np.where(shift < 0, root << np.maximum(-shift, 0), root)
    one = x <= 1
    return np.where(one, INT32_MAX, mantissa), np.where(one, 0, -np.maximum(shift, 0))


# --- 16-bit Sigmoid and Tanh --------------------------------------------------


def _prescale(source: QuantParams) -> tuple[int, int]:
    """Return multiplier and shift to units of 1 / (3 * 4096), in which 2**17 is 10.7."""
    multiplier, shift = float(np.float64(source.scale) * 4096.0 * 3.0), 0
    while multiplier <= 32767.0 / 2.0 and shift <= 30:
        multiplier, shift = multiplier * 2.0, shift + 1
    return int(multiplier), shift


def _table_argument(x: Array, source: QuantParams, exact_shifts: tuple[int, ...]) -> Int64:
    """Return the argument in the table's units; a power-of-two scale needs no multiplier."""
    log2 = np.log2(np.float64(source.scale))
    shift = round(log2) + 12
    if log2 == round(log2) and shift in exact_shifts:
        return np.asarray(x.astype(np.int64) * (3 << shift))
    multiplier, shift = _prescale(source)
    half = (1 << (shift - 1)) if shift > 0 else 0
    return np.asarray((x.astype(np.int64) * multiplier + half) >> shift)


def _look_up(magnitude: Int64, bits: int) -> Int64:
    """Interpolate the sigmoid table; ``bits`` of the argument lie between two entries."""
    table = sigmoid_table()
    index = np.minimum(magnitude >> bits, 254)
    low, high = table[index], table[index + 1]
    return np.asarray((low << bits) + (magnitude & ((1 << bits) - 1)) * (high - low))


def _sigmoid16(x: Array, source: QuantParams) -> Array:
    """Compute ``Logistic`` of reference/integer_ops/logistic.h."""
    argument = _table_argument(x, source, (0,))
    magnitude = np.abs(argument)
    found = np.where(magnitude >> 9 >= 255, 0x7FFF << 10, _look_up(magnitude, 9))
    rounded = np.where(argument >= 0, found + (1 << 9), (1 << 25) - found + (1 << 9) - 1)
    return (rounded >> 10).astype(np.int16)


def _tanh16(x: Array, source: QuantParams) -> Array:
    """Compute tanh(x) = 2 sigmoid(2x) - 1 (reference/integer_ops/tanh.h)."""
    argument = _table_argument(x, source, (0, 1))
    magnitude = np.abs(argument)
    found = np.where(magnitude >> 8 >= 255, 0xFFFF << 8, _look_up(magnitude, 8))
    rounded = np.where(
        argument >= 0, found - (1 << 23) + (1 << 7), -found + (1 << 23) + (1 << 7) - 1
    )
    return (rounded >> 8).astype(np.int16)


def build_squash(context: KernelContext) -> Kernel:
    """Build Sigmoid and Tanh."""
    source = context.input_params()
    if source.dtype.bits == 8:
        return build_table(context)
    wide = _sigmoid16 if isinstance(context.op, ops.Sigmoid) else _tanh16
    return by_integers(source, lambda x: wide(x, source))


_FUNCTIONS: dict[str, IntegerBuilder] = {
    "Abs": build_abs,
    "Exp": build_table,
    "Log": _build_log,
    "Sqrt": _build_sqrt,
    "Rsqrt": _build_rsqrt,
}


def build_unary(context: KernelContext) -> Kernel | None:
    """Build the functions of :class:`~qhal.ir.ops.Unary` that have an integer kernel."""
    op = context.op
    assert isinstance(op, ops.Unary)
    return _FUNCTIONS[op.function](context) if op.function in _FUNCTIONS else None
