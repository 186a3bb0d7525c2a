"""Weights as 4-bit NormalFloat and as bfloat16."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qhal.ir.dtypes import NORMAL_FLOAT, DType
from qhal.quant.arithmetic import dequantize, quantize, rounded, weight_params
from qhal.quant.model import QuantParams
from qhal.targets.spec import Granularity, PerAxis, PerGroup, PerTensor, QuantSpec

numbers = st.floats(-1e4, 1e4, width=32, allow_subnormal=False)
weights = arrays(np.float32, (3, 12), elements=numbers)
granularities = st.sampled_from([PerTensor(), PerAxis(), PerGroup(4), PerGroup(5)])


@given(weights, granularities)
def test_each_weight_becomes_the_nearest_number_of_its_group(
    weight: np.ndarray, granularity: Granularity
) -> None:
    params = weight_params(weight, QuantSpec(DType.NF4, granularity))
    found = dequantize(quantize(weight, params), params)
    codes = (np.full(weight.shape, code, np.uint8) for code in range(16))
    every = np.stack([dequantize(code, params) for code in codes])
    least = np.abs(every - weight).min(axis=0)
    assert np.all(np.abs(found - weight) <= least * 1.001 + 1e-30)


@given(weights, granularities)
def test_zeros_and_the_largest_weight_of_a_group_are_exact(
    weight: np.ndarray, granularity: Granularity
) -> None:
    weight = np.where(np.abs(weight) < 1e-3, np.float32(0), weight)
    params = weight_params(weight, QuantSpec(DType.NF4, granularity))
    found = dequantize(quantize(weight, params), params)
    assert np.all(found[weight == 0] == 0)
    assert np.abs(found).max() == np.abs(weight).max()
    assert np.all(params.zero_point == 0)


@given(st.floats(2**-20, 2**20, width=32))
def test_codes_survive_a_round_trip(scale: float) -> None:
    params = QuantParams.per_tensor(DType.NF4, scale, 0)
    codes = np.arange(16, dtype=np.uint8)
    assert np.array_equal(quantize(dequantize(codes, params), params), codes)
    assert np.array_equal(dequantize(codes, params), NORMAL_FLOAT * np.float32(scale))


def test_normal_weights_lose_less_than_as_four_bit_integers() -> None:
    weight = np.random.default_rng(0).normal(0, 0.05, (64, 512)).astype(np.float32)

    def loss(spec: QuantSpec) -> float:
        params = weight_params(weight, spec)
        return float(np.square(dequantize(quantize(weight, params), params) - weight).sum())

    codes = loss(QuantSpec(DType.NF4, PerGroup(32)))
    integers = loss(QuantSpec(DType.INT4, PerGroup(32), symmetric=True, narrow_range=True))
    assert codes < 0.9 * integers


every_float = st.floats(width=32, allow_nan=False, allow_subnormal=False)


@given(arrays(np.float32, (4, 3), elements=every_float))
def test_bfloat16_is_rounded_as_hardware_does(array: np.ndarray) -> None:
    expected = array.astype(ml_dtypes.bfloat16).astype(np.float32)
    assert np.array_equal(rounded(array, DType.BFLOAT16), expected)
    assert np.array_equal(rounded(array.T, DType.BFLOAT16), expected.T)


def test_ties_between_two_bfloat16_go_to_the_even_one() -> None:
    step = 2.0**-7
    found = rounded(np.array([1 + step / 2, 1 + 3 * step / 2], np.float32), DType.BFLOAT16)
    assert found.tolist() == [1, 1 + 2 * step]


@pytest.mark.parametrize("dtype", [DType.FLOAT16, DType.FLOAT32])
def test_other_floats_are_numpy_s(dtype: DType) -> None:
    array = np.array([1 / 3], np.float32)
    assert rounded(array, dtype).dtype == dtype.numpy
    assert rounded(array, dtype) == array.astype(dtype.numpy)
