"""Quantization parameters and the arrays that they describe."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qhal.ir.dtypes import DType
from qhal.quant.arithmetic import (
    bias_params,
    channel_params,
    dequantize,
    fixed_params,
    params_from_range,
    quantize,
    weight_params,
)
from qhal.quant.model import QuantParams
from qhal.targets.spec import FixedQParams, PerAxis, PerGroup, PerTensor, QuantSpec

ends = st.floats(-1e6, 1e6, allow_nan=False, width=32)
dtypes = st.sampled_from([DType.INT8, DType.UINT8, DType.INT16, DType.UINT16, DType.INT4])


@given(ends, ends, dtypes, st.booleans(), st.booleans())
def test_zero_is_exact_and_the_range_is_covered(
    a: float, b: float, dtype: DType, symmetric: bool, narrow: bool
) -> None:
    low, high = min(a, b), max(a, b)
    params = params_from_range(low, high, QuantSpec(dtype, PerTensor(), symmetric, narrow))
    zero = quantize(np.zeros((), np.float32), params)
    assert zero == params.zero_point
    assert dequantize(zero, params) == 0.0
    got = dequantize(quantize(np.array([low, high], np.float32), params), params)
    # Nudging the zero point moves the ends by half a step at most; rounding by another half.
    assert np.allclose(got, [low, high], atol=1.01 * float(params.scale), rtol=1e-5)


@given(ends, ends, dtypes)
def test_integers_survive_a_round_trip(a: float, b: float, dtype: DType) -> None:
    params = params_from_range(min(a, b), max(a, b), QuantSpec(dtype))
    every = np.arange(dtype.qmin, dtype.qmax + 1).astype(dtype.numpy)
    assert np.array_equal(quantize(dequantize(every, params), params), every)


@pytest.mark.parametrize(
    ("low", "high", "spec", "scale", "zero_point"),
    [
        (-1.0, 1.0, QuantSpec(DType.INT8), 2 / 255, 0),
        (0.0, 6.0, QuantSpec(DType.INT8), 6 / 255, -128),
        (0.0, 6.0, QuantSpec(DType.UINT8), 6 / 255, 0),
        (2.0, 6.0, QuantSpec(DType.INT8), 6 / 255, -128),
        (-3.0, -1.0, QuantSpec(DType.INT8), 3 / 255, 127),
        (-2.0, 1.0, QuantSpec(DType.INT16, symmetric=True), 2 / 32767, 0),
        (-2.0, 1.0, QuantSpec(DType.UINT8, symmetric=True), 2 / 127, 128),
        (0.0, 0.0, QuantSpec(DType.INT8), 2 / 255, 0),
        (0.0, 0.0, QuantSpec(DType.UINT8), 2 / 255, 127),
        (0.0, 0.0, QuantSpec(DType.INT16, symmetric=True), 1 / 32767, 0),
    ],
)
def test_known_parameters(
    low: float, high: float, spec: QuantSpec, scale: float, zero_point: int
) -> None:
    params = params_from_range(low, high, spec)
    assert params.scale == np.float32(scale)
    assert params.zero_point == zero_point
    assert params.scale.dtype == np.float32
    assert isinstance(params.zero_point, np.ndarray)


def test_ties_go_to_even_and_ends_saturate() -> None:
    params = QuantParams.per_tensor(DType.INT8, 1.0, 0)
    got = quantize(np.array([0.5, 1.5, -0.5, -2.5, 1e9, -1e9], np.float32), params)
    assert got.tolist() == [0, 2, 0, -2, 127, -128]


@pytest.mark.parametrize("axis", [0, 1, 3])
def test_weights_per_axis_use_their_whole_range(axis: int) -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3, 5, 6)).astype(np.float32)
    params = weight_params(weight, QuantSpec(DType.INT8, PerAxis(), True, True), axis)
    ints = np.moveaxis(quantize(weight, params), axis, 0).reshape(weight.shape[axis], -1)
    assert params.scale.shape == (weight.shape[axis],)
    assert np.abs(ints).max(axis=1).tolist() == [127] * weight.shape[axis]
    error = np.abs(dequantize(quantize(weight, params), params) - weight)
    assert error.max() <= float(params.scale.max()) / 2 * 1.0001


def test_weights_per_group_end_with_a_short_group() -> None:
    weight = np.random.default_rng(1).normal(size=(8, 20)).astype(np.float32)
    spec = QuantSpec(DType.INT4, PerGroup(8), symmetric=True)
    params = weight_params(weight, spec)
    assert params.scale.shape == (8, 3)
    assert params.group_size == 8
    wanted = np.abs(weight[:, 16:]).max(axis=1) / 7
    assert np.allclose(params.scale[:, 2], wanted)
    error = np.abs(dequantize(quantize(weight, params), params) - weight)
    assert (error <= np.repeat(params.scale, 8, axis=1)[:, :20] / 2 * 1.0001).all()


def test_an_empty_channel_takes_the_scale_of_its_neighbors() -> None:
    weight = np.array([[1.0, -2.0], [0.0, 0.0], [4.0, 1.0]], np.float32)
    params = weight_params(weight, QuantSpec(DType.INT8, PerAxis(), True, True))
    assert params.scale[1] == np.float32(3 / 127)
    assert quantize(weight, params)[1].tolist() == [0, 0]


def test_weights_per_tensor_have_one_scale() -> None:
    weight = np.array([[1.0, -2.0]], np.float32)
    params = weight_params(weight, QuantSpec(DType.INT8, PerTensor(), True, True))
    assert params.axis is None
    assert params.scale.shape == ()


def test_asymmetric_weights_cover_their_range() -> None:
    weight = np.array([[0.0, 2.0], [-1.0, 0.0]], np.float32)
    params = weight_params(weight, QuantSpec(DType.UINT8, PerAxis()))
    assert params.zero_point.tolist() == [0, 255]


def test_a_bias_has_the_product_of_the_scales() -> None:
    source = QuantParams.per_tensor(DType.INT8, 0.5, 3)
    weight = QuantParams(DType.INT8, np.array([0.25, 0.5], np.float32), np.zeros(2, np.int64), 3)
    params = bias_params(source, weight, DType.INT32)
    assert params.scale.tolist() == [0.125, 0.25]
    assert params.axis == 0
    assert quantize(np.array([1.0, -3e8]), params).tolist() == [8, -1_200_000_000]
    assert quantize(np.array([1.0, 3e9]), params)[1] == DType.INT32.qmax


def test_a_wide_bias_saturates_without_wrapping() -> None:
    params = QuantParams.per_tensor(DType.INT64, 1e-30, 0)
    big = quantize(np.array([1.0, -1.0]), params)
    assert big[0] > 2**62
    assert big[1] < -(2**62)


def test_fixed_parameters() -> None:
    params = fixed_params(FixedQParams(DType.INT8, 1 / 256, -128))
    assert (float(params.scale), int(params.zero_point)) == (1 / 256, -128)


@given(st.lists(st.tuples(ends, ends), min_size=1, max_size=5))
def test_channels_share_a_zero_point_and_each_range_is_covered(
    ranges: list[tuple[float, float]],
) -> None:
    low, high = np.sort(np.array(ranges, np.float64), axis=1).T
    params = channel_params(low, high, QuantSpec(DType.UINT8, PerAxis()), axis=1)
    assert params.axis == 1
    assert len(set(params.zero_point.tolist())) == 1
    zero_point, scale = int(params.zero_point[0]), params.scale.astype(np.float64)
    assert np.all(-zero_point * scale <= np.minimum(low, 0) + 1e-5 * scale * 255)
    assert np.all((255 - zero_point) * scale >= np.maximum(high, 0) - 1e-5 * scale * 255)


def test_channels_that_are_never_negative_have_zero_point_zero() -> None:
    high = np.array([6.0, 0.5, 0.0])
    params = channel_params(np.zeros(3), high, QuantSpec(DType.UINT8, PerAxis()), axis=1)
    assert params.zero_point.tolist() == [0, 0, 0]
    np.testing.assert_allclose(params.scale[:2] * 255, high[:2], rtol=1e-6)
    assert params.scale[2] > 0
