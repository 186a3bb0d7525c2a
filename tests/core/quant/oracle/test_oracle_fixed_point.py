"""The fixed-point arithmetic against exact rational numbers."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qhal.quant.oracle.fixed_point import (
    Multiplier,
    doubling_high_mul,
    exp_on_negative_values,
    leading_zeros,
    one_over_one_plus_x,
    reciprocal,
    round_half_away,
    rounding_shift,
)

int32s = st.integers(-(2**31) + 1, 2**31 - 1)


def half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def half_away(value: Fraction) -> int:
    return half_up(value) if value >= 0 else -half_up(-value)


@given(int32s, int32s)
def test_doubling_high_mul_rounds_half_up(a: int, b: int) -> None:
    wanted = half_up(Fraction(a * b, 2**31))
    assert int(doubling_high_mul(np.int64(a), np.int64(b))) == wanted


@given(int32s, st.integers(0, 31))
def test_rounding_shift_rounds_half_away_from_zero(x: int, exponent: int) -> None:
    got = int(rounding_shift(np.asarray(x, np.int64), exponent))
    assert got == half_away(Fraction(x, 2**exponent))


@given(st.floats(2.0**-30, 2.0**20))
def test_a_multiplier_is_the_nearest_of_31_bits(real: float) -> None:
    found = Multiplier.of(real)
    value = Fraction(int(found.mantissa)) * Fraction(2) ** int(found.shift - 31)
    assert 2**30 <= int(found.mantissa) < 2**31
    assert abs(value / Fraction(real) - 1) <= Fraction(1, 2**31)


@given(st.integers(-(2**24), 2**24), st.floats(2.0**-20, 0.999))
def test_a_product_is_within_one_of_the_exact_one(x: int, real: float) -> None:
    got = int(Multiplier.of(real).apply(np.asarray(x, np.int64)))
    assert abs(got - Fraction(real) * x) <= 1


@given(st.integers(-(2**40), 2**40), st.floats(2.0**-20, 2.0**-12))
def test_a_wide_product_has_a_mantissa_of_15_bits(x: int, real: float) -> None:
    got = int(Multiplier.of(real).apply_wide(np.asarray(x, np.int64)))
    exact = Fraction(real) * x
    assert abs(got - exact) <= 1 + abs(exact) / 2**14


def test_factors_that_round_up_to_a_power_of_two() -> None:
    found = Multiplier.of(np.array([1.0 - 2.0**-40, 1.0, 0.0, 2.0**-40]))
    assert found.mantissa.tolist() == [2**30, 2**30, 0, 0]
    assert found.shift.tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(("x", "wanted"), [(0.5, 1), (-0.5, -1), (1.5, 2), (-2.5, -3), (0.4, 0)])
def test_round_half_away(x: float, wanted: int) -> None:
    assert round_half_away(np.float32(x)) == wanted


@given(st.integers(1, 2**31 - 1))
def test_leading_zeros(x: int) -> None:
    assert int(leading_zeros(np.asarray(x, np.int64))) == 32 - x.bit_length()


@given(st.floats(-31.9, 0.0))
def test_exponentials_are_right_to_1e_7(x: float) -> None:
    raw = np.asarray(round(x * 2**26), np.int64)
    got = float(exp_on_negative_values(raw, 5)) / 2**31
    assert got == pytest.approx(math.exp(float(raw) / 2**26), abs=3e-7)


@given(st.floats(0.0, 0.9999))
def test_one_over_one_plus_x(x: float) -> None:
    raw = np.asarray(round(x * 2**31), np.int64)
    assert float(one_over_one_plus_x(raw)) / 2**31 == pytest.approx(1 / (1 + x), abs=1e-8)


@given(st.floats(1.0, 4000.0))
def test_reciprocals(x: float) -> None:
    raw = np.asarray(round(x * 2**19), np.int64)
    mantissa, above_one = reciprocal(raw, 12)
    assert float(mantissa) / 2.0 ** (31 + int(above_one)) == pytest.approx(1 / x, rel=1e-6)
