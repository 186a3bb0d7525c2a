"""Fixed-point arithmetic of LiteRT's reference kernels, on int64 arrays.

The formulas are those of tflite/kernels/internal/common.cc (the double-rounding build, which
LiteRT ships), quantization_util.cc and gemmlowp's fixedpoint/fixedpoint.h. A value of the type
``FixedPoint<int32, n>`` is an integer whose real value is ``raw / 2**(31 - n)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]

INT32_MAX = (1 << 31) - 1
INT32_MIN = -(1 << 31)


@dataclass(frozen=True, eq=False)
class Multiplier:
    """Real factors as ``mantissa * 2**(shift - 31)``, mantissa in [2**30, 2**31) or 0.

    Attributes:
        mantissa: int64, any shape.
        shift: int64, same shape; positive shifts left.
    """

    mantissa: Int64
    shift: Int64

    @staticmethod
    def of(real: Any) -> Multiplier:
        """Split non-negative real factors (``QuantizeMultiplier``).

        Args:
            real: float64, any shape. Below about 2**-32 a factor becomes 0.
        """
        fraction, exponent = np.frexp(np.asarray(real, np.float64))
        mantissa = np.floor(fraction * 2.0**31 + 0.5).astype(np.int64)
        shift = exponent.astype(np.int64)
        full = mantissa == 1 << 31
        mantissa, shift = np.where(full, mantissa >> 1, mantissa), shift + full
        tiny = (shift < -31) | (mantissa == 0)
        return Multiplier(np.where(tiny, 0, mantissa), np.where(tiny, 0, shift))

    def apply(self, x: Int64) -> Int64:
        """Compute ``MultiplyByQuantizedMultiplier`` of an int32 accumulator.

        A doubling high multiplication that rounds half up, then a right shift that rounds half
        away from zero; broadcasts against ``x``.
        """
        high = doubling_high_mul(x << np.maximum(self.shift, 0), self.mantissa)
        return rounding_shift(high, np.maximum(-self.shift, 0))

    def apply_wide(self, x: Int64) -> Int64:
        """Compute ``MultiplyByQuantizedMultiplier`` of an int64 accumulator (16-bit activations).

        The mantissa is cut to 16 bits, and there is one rounding, half up.
        """
        reduced = np.where(self.mantissa < 0x7FFF0000, (self.mantissa + (1 << 15)) >> 16, 0x7FFF)
        total = 15 - self.shift
        return np.asarray((x * reduced + (np.int64(1) << (total - 1))) >> total)


def doubling_high_mul(a: Any, b: Any) -> Int64:
    """Return the high half of ``2 * a * b``, half up (``SaturatingRoundingDoublingHighMul``)."""
    product: Int64 = np.asarray(a * b)
    product += 1 << 30
    product >>= 31
    return product


def rounding_shift(x: Int64, exponent: Any) -> Int64:
    """Compute ``x / 2**exponent`` rounded half away from zero (``RoundingDivideByPOT``)."""
    exponent = np.asarray(exponent, np.int64)
    half = (np.int64(1) << exponent) >> 1
    # Adding half rounds half up; one less for a negative x makes that half away from zero.
    result: Int64 = np.asarray(x + half)
    result -= (x < 0) & (exponent > 0)
    result >>= exponent
    return result


def saturating_shift_left(x: Int64, exponent: int) -> Int64:
    """Compute ``x * 2**exponent``, saturated to int32 (``SaturatingRoundingMultiplyByPOT``)."""
    return np.asarray(np.clip(x << exponent, INT32_MIN, INT32_MAX))


def round_half_away(x: Any) -> Any:
    """Compute C's ``round``, in the type of ``x``."""
    return np.trunc(x + np.copysign(np.asarray(0.5, np.asarray(x).dtype), x))


def leading_zeros(x: Int64) -> Int64:
    """Count the leading zeros of positive int32 values."""
    return 32 - np.frexp(x.astype(np.float64))[1].astype(np.int64)


_EXP_STEPS = (
    (-2, 1672461947),
    (-1, 1302514674),
    (0, 790015084),
    (1, 290630308),
    (2, 39332535),
    (3, 720401),
    (4, 242),
)
"""exp(-2**k) in FixedPoint<int32, 0>, for k from -2 to 4."""


def exp_on_negative_values(x: Int64, integer_bits: int) -> Int64:
    """Compute exp of FixedPoint<int32, integer_bits> <= 0 in FixedPoint<int32, 0>.

    A fourth-order Taylor polynomial on [-1/4, 0), times the tabulated exponentials of the
    remaining powers of two.
    """
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    modulo = (x & (quarter - 1)) - quarter
    result = _exp_on_quarter(modulo << integer_bits)
    remainder = modulo - x
    for exponent, factor in _EXP_STEPS:
        if integer_bits > exponent:
            bit = (remainder >> (fraction_bits + exponent)) & 1
            result = np.where(bit, doubling_high_mul(result, np.int64(factor)), result)
    if integer_bits > 5:
        result = np.where(x < -(1 << (36 - integer_bits)), 0, result)
    return np.where(x == 0, INT32_MAX, result)


def _exp_on_quarter(a: Int64) -> Int64:
    """Compute exp on [-1/4, 0), FixedPoint<int32, 0> to the same."""
    constant_term, third = np.int64(1895147668), np.int64(715827883)  # exp(-1/8), 1/3
    x = a + (1 << 28)  # a + 1/8
    x2 = doubling_high_mul(x, x)
    x3 = doubling_high_mul(x2, x)
    x4_over_4 = rounding_shift(doubling_high_mul(x2, x2), 2)
    tail = rounding_shift(doubling_high_mul(x4_over_4 + x3, third) + x2, 1)
    return constant_term + doubling_high_mul(constant_term, x + tail)


def one_over_one_plus_x(a: Int64) -> Int64:
    """Compute 1 / (1 + a), a in [0, 1), FixedPoint<int32, 0>: 3 Newton-Raphson iterations."""
    half_denominator = (a + INT32_MAX + 1) >> 1
    x = 1515870810 + doubling_high_mul(half_denominator, np.int64(-1010580540))  # 48/17 - 32/17 d
    for _ in range(3):
        error = (1 << 29) - doubling_high_mul(half_denominator, x)
        x = x + saturating_shift_left(doubling_high_mul(x, error), 2)
    return saturating_shift_left(x, 1)


def reciprocal(x: Int64, integer_bits: int) -> tuple[Int64, Int64]:
    """Compute 1 / x of positive FixedPoint<int32, integer_bits> (``GetReciprocal``).

    Returns:
        Mantissa in FixedPoint<int32, 0>, and the bits of x above one.
    """
    zeros = leading_zeros(x)
    return one_over_one_plus_x((x << zeros) - (1 << 31)), integer_bits - zeros
