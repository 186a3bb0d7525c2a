"""Integer weights, derived biases and bias correction."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.decisions import Code
from qhal.ir.dtypes import DType
from qhal.ir.ops import Conv, ConvTranspose, DepthwiseConv, FullyConnected, Layout, Op
from qhal.quant.arithmetic import dequantize
from qhal.quant.model import QuantParams
from qhal.quant.weight_rows import output_axis
from qhal.quant.weights import WeightTask, mean_response, quantize_weights
from qhal.targets.spec import PerAxis, QuantSpec

SPEC = QuantSpec(DType.INT8, PerAxis(), symmetric=True, narrow_range=True)
SOURCE = QuantParams.per_tensor(DType.INT8, 0.05, -3)
RESULT = QuantParams.per_tensor(DType.INT8, 0.1, 4)
NCHW, NHWC = Layout.NCHW, Layout.NHWC


def conv(layout: Layout, groups: int = 1) -> Conv:
    return Conv((1, 1), (0, 0, 0, 0), (1, 1), groups, layout=layout)


def depthwise(layout: Layout, multiplier: int) -> DepthwiseConv:
    return DepthwiseConv((1, 1), (0, 0, 0, 0), (1, 1), multiplier, layout=layout)


def transposed(layout: Layout, groups: int = 1) -> ConvTranspose:
    return ConvTranspose((1, 1), (0, 0, 0, 0), (1, 1), (0, 0), groups, layout=layout)


def task(weight: np.ndarray, bias: np.ndarray | None, mean: np.ndarray | None) -> WeightTask:
    return WeightTask("fc", FullyConnected(), weight, bias, SPEC, DType.INT32, SOURCE, RESULT, mean)


@pytest.mark.parametrize(
    ("op", "weight_shape", "channels", "outputs"),
    [
        (conv(NCHW), (6, 4, 3, 2), 4, 6),
        (conv(NHWC), (6, 3, 2, 4), 4, 6),
        (conv(NCHW, 2), (6, 2, 3, 2), 4, 6),
        (conv(NHWC, 2), (6, 3, 2, 2), 4, 6),
        (depthwise(NCHW, 2), (8, 1, 3, 2), 4, 8),
        (depthwise(NHWC, 2), (1, 3, 2, 8), 4, 8),
        (transposed(NCHW), (4, 6, 3, 2), 4, 6),
        (transposed(NCHW, 2), (4, 3, 3, 2), 4, 6),
        (transposed(NHWC), (6, 3, 2, 4), 4, 6),
        (FullyConnected(), (6, 4), 4, 6),
    ],
    ids=str,
)
def test_mean_response_is_linear_and_has_one_value_per_output(
    op: Op, weight_shape: tuple[int, ...], channels: int, outputs: int
) -> None:
    """Every output channel sees exactly the taps that belong to it."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=weight_shape).astype(np.float32)
    mean = rng.normal(size=channels).astype(np.float32)
    assert weight.shape[output_axis(op)] * getattr(op, "groups", 1) >= outputs
    response = mean_response(op, weight, mean)
    assert response.shape == (outputs,)
    total = sum(
        mean_response(op, weight, np.eye(channels, dtype=np.float32)[i]) * mean[i]
        for i in range(channels)
    )
    np.testing.assert_allclose(response, total, rtol=1e-4, atol=1e-5)


def test_both_layouts_respond_alike() -> None:
    rng = np.random.default_rng(1)
    mean = rng.normal(size=4).astype(np.float32)
    weight = rng.normal(size=(6, 4, 3, 3)).astype(np.float32)
    one = mean_response(conv(NCHW), weight, mean)
    two = mean_response(conv(NHWC), weight.transpose(0, 2, 3, 1), mean)
    np.testing.assert_allclose(one, two, rtol=1e-5)
    expected = np.einsum("oikl,i->o", weight, mean)
    np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-5)


def test_bias_correction_removes_the_mean_error() -> None:
    rng = np.random.default_rng(2)
    weight = rng.normal(size=(8, 64)).astype(np.float32)
    bias = rng.normal(size=8).astype(np.float32)
    mean = rng.uniform(1, 2, size=64).astype(np.float32)
    wanted = weight @ mean + bias

    def error(channel_mean: np.ndarray | None) -> float:
        result = quantize_weights(task(weight, bias, channel_mean))
        assert result.bias is not None
        assert result.bias_params is not None
        assert result.weight_params is not None
        made = dequantize(result.weight, result.weight_params) @ mean
        return float(np.abs(made + dequantize(result.bias, result.bias_params) - wanted).max())

    step = float(SOURCE.scale * np.abs(weight).max() / 127)
    assert error(mean) <= step
    assert error(None) > 10 * error(mean)


def test_the_bias_scale_is_the_product_of_the_others() -> None:
    weight = np.array([[1.0, -2.0], [0.5, 0.25]], np.float32)
    result = quantize_weights(task(weight, np.array([1.0, -1.0], np.float32), None))
    assert result.bias_params is not None
    assert result.weight_params is not None
    np.testing.assert_allclose(
        result.bias_params.scale, SOURCE.scale * result.weight_params.scale, rtol=1e-6
    )
    assert result.weight.min() >= -127


def test_a_bias_that_does_not_fit_raises_the_weight_scale() -> None:
    weight = np.array([[1e-9, 0.0], [1.0, 1.0]], np.float32)
    bias = np.array([50.0, 0.0], np.float32)
    result = quantize_weights(task(weight, bias, None))
    assert [d.code for d in result.decisions] == [Code.BIAS_SCALE_RAISED]
    assert "1 of 2 weight scales of fc" in result.decisions[0].sentence
    assert result.bias is not None
    assert result.bias_params is not None
    assert result.weight_params is not None
    np.testing.assert_allclose(dequantize(result.bias, result.bias_params), bias, rtol=1e-6)


def test_weight_only_keeps_the_bias_in_float() -> None:
    weight = np.ones((2, 2), np.float32)
    bias = np.array([0.1, 0.2], np.float32)
    plain = WeightTask("fc", FullyConnected(), weight, bias, SPEC, None, None, None, None)
    result = quantize_weights(plain)
    assert result.bias is bias
    assert result.bias_params is None
