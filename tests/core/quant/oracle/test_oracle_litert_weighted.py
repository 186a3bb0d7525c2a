"""Convolutions and products, bit for bit with LiteRT's reference kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.ops import Activation, Layout
from qhal.quant.model import QuantParams
from tests.core.quant.oracle.oracle_litert import (
    TYPES,
    Case,
    biases,
    integers,
    per_axis,
    per_tensor,
    schema,
    weights,
)

FUSED = {Activation.NONE: 0, Activation.RELU: 1, Activation.RELU6: 3}
VALID, SAME = schema.Padding.VALID, schema.Padding.SAME

eight_and_sixteen = pytest.mark.parametrize("dtype", [DType.INT8, DType.INT16])
activations = pytest.mark.parametrize("activation", list(Activation))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def scales(dtype: DType) -> tuple[QuantParams, QuantParams]:
    """Parameters of an input and of an output."""
    if dtype is DType.INT16:
        return per_tensor(dtype, 0.0003), per_tensor(dtype, 0.0005)
    return per_tensor(dtype, 0.03, -7), per_tensor(dtype, 0.05, 11)


def options(
    kind: str,
    padding: int,
    strides: tuple[int, int],
    activation: Activation = Activation.NONE,
    **more: int,
) -> Any:
    found = getattr(schema, f"{kind}OptionsT")()
    found.padding, (found.strideH, found.strideW) = padding, strides
    found.fusedActivationFunction = FUSED[activation]
    for name, value in more.items():
        setattr(found, name, value)
    return found


@eight_and_sixteen
@activations
@pytest.mark.parametrize("same", [False, True])
def test_conv(rng: np.random.Generator, dtype: DType, activation: Activation, same: bool) -> None:
    source, output = scales(dtype)
    x, w, params = integers(rng, (2, 9, 8, 5), dtype), weights(rng, (6, 3, 3, 5)), None
    params = per_axis(rng, 6, 0)
    pads, shape = ((1, 1, 1, 1), (2, 5, 8, 6)) if same else ((0, 0, 0, 0), (2, 4, 6, 6))
    op = ops.Conv((2, 1), pads, (1, 1), 1, activation, Layout.NHWC)
    bias = biases(rng, source, params, 6)
    case = Case(op, [(x, source), (w, params), bias], (shape, output), (1, 2))
    found = options("Conv2D", SAME if same else VALID, (2, 1), activation)
    found.dilationHFactor = found.dilationWFactor = 1
    assert np.array_equal(case.oracle(), case.litert("CONV_2D", found))


def test_a_dilated_conv_with_groups_and_a_pointwise_one(rng: np.random.Generator) -> None:
    source, output = scales(DType.INT8)
    x, w, params = integers(rng, (1, 9, 9, 6), DType.INT8), weights(rng, (8, 3, 3, 3)), None
    params = per_axis(rng, 8, 0)
    op = ops.Conv((1, 1), (0, 0, 0, 0), (2, 3), 2, layout=Layout.NHWC)
    bias = biases(rng, source, params, 8)
    case = Case(op, [(x, source), (w, params), bias], ((1, 5, 3, 8), output), (1, 2))
    found = options("Conv2D", VALID, (1, 1), dilationHFactor=2, dilationWFactor=3)
    assert np.array_equal(case.oracle(), case.litert("CONV_2D", found))


@eight_and_sixteen
def test_a_large_accumulator_is_exact(rng: np.random.Generator, dtype: DType) -> None:
    """float32 products would round here."""
    source, output = per_tensor(dtype, 0.01, -128 if dtype is DType.INT8 else 0), None
    output = per_tensor(dtype, 3.0)
    x = np.full((1, 2, 2, 700), dtype.qmax, dtype.numpy)
    w, params = np.full((3, 1, 1, 700), 127, np.int8), per_axis(rng, 3, 0)
    op = ops.Conv((1, 1), (0, 0, 0, 0), (1, 1), layout=Layout.NHWC)
    bias = biases(rng, source, params, 3)
    case = Case(op, [(x, source), (w, params), bias], ((1, 2, 2, 3), output), (1, 2))
    found = options("Conv2D", VALID, (1, 1), dilationHFactor=1, dilationWFactor=1)
    assert np.array_equal(case.oracle(), case.litert("CONV_2D", found))


@eight_and_sixteen
@activations
@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_conv(
    rng: np.random.Generator, dtype: DType, activation: Activation, multiplier: int
) -> None:
    source, output = scales(dtype)
    channels = 5 * multiplier
    x, w = integers(rng, (2, 9, 8, 5), dtype), weights(rng, (1, 3, 3, channels))
    params = per_axis(rng, channels, 3)
    op = ops.DepthwiseConv((2, 2), (1, 0, 1, 1), (1, 1), multiplier, activation, Layout.NHWC)
    bias = biases(rng, source, params, channels)
    case = Case(op, [(x, source), (w, params), bias], ((2, 5, 4, channels), output), (1, 2))
    found = options("DepthwiseConv2D", SAME, (2, 2), activation, depthMultiplier=multiplier)
    found.dilationHFactor = found.dilationWFactor = 1
    assert np.array_equal(case.oracle(), case.litert("DEPTHWISE_CONV_2D", found))


@eight_and_sixteen
def test_transposed_conv(rng: np.random.Generator, dtype: DType) -> None:
    source, _ = scales(dtype)
    output = per_tensor(dtype, float(source.scale) * 6, int(source.zero_point))
    x, w, params = integers(rng, (2, 7, 6, 5), dtype), weights(rng, (4, 3, 3, 5)), None
    params = per_axis(rng, 4, 0)
    op = ops.ConvTranspose((2, 2), (0, 0, 1, 1), (1, 1), (0, 0), layout=Layout.NHWC)
    bias = biases(rng, source, params, 4)
    case = Case(op, [(x, source), (w, params), bias], ((2, 14, 12, 4), output), (1, 2))
    shape = np.array([2, 14, 12, 4], np.int32)
    theirs = case.litert(
        "TRANSPOSE_CONV", options("TransposeConv", SAME, (2, 2)), [shape], [3, 1, 0, 2]
    )
    assert np.array_equal(case.oracle(), theirs)


@eight_and_sixteen
@activations
@pytest.mark.parametrize("each_channel", [False, True])
def test_fully_connected(
    rng: np.random.Generator, dtype: DType, activation: Activation, each_channel: bool
) -> None:
    source, output = scales(dtype)
    x, w = integers(rng, (60, 137), dtype), weights(rng, (111, 137))
    params = per_axis(rng, 111, 0) if each_channel else per_tensor(DType.INT8, 0.006)
    bias = biases(rng, source, params, 111)
    op = ops.FullyConnected(activation)
    case = Case(op, [(x, source), (w, params), bias], ((60, 111), output), (1, 2))
    found = schema.FullyConnectedOptionsT()
    found.fusedActivationFunction = FUSED[activation]
    found.quantizedBiasType = TYPES[bias[1].dtype.value]
    assert np.array_equal(case.oracle(), case.litert("FULLY_CONNECTED", found))


@eight_and_sixteen
def test_product_of_activations(rng: np.random.Generator, dtype: DType) -> None:
    left, _ = scales(dtype)
    right = per_tensor(dtype, float(left.scale) * 1.3, -int(left.zero_point))
    steps = 200 if dtype is DType.INT8 else 60000
    scale = float(left.scale) * float(right.scale) * steps
    output = per_tensor(dtype, scale, int(left.zero_point))
    a, b = integers(rng, (3, 11, 17), dtype), integers(rng, (3, 17, 9), dtype)
    case = Case(ops.MatMul(), [(a, left), (b, right)], ((3, 11, 9), output))
    theirs = case.litert("BATCH_MATMUL", schema.BatchMatMulOptionsT())
    assert np.array_equal(case.oracle(), theirs)


# --- float activations, integer weights -------------------------------------------


def close(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return np.allclose(ours, theirs, rtol=0, atol=2e-6 * np.abs(theirs).max())


def test_dynamic_conv(rng: np.random.Generator) -> None:
    x, w = rng.normal(size=(2, 9, 8, 5)).astype(np.float32), weights(rng, (6, 3, 3, 5))
    params, bias = per_axis(rng, 6, 0), rng.normal(size=6).astype(np.float32)
    op = ops.Conv((2, 1), (1, 1, 1, 1), (1, 1), 1, Activation.RELU, Layout.NHWC)
    output = ((2, 5, 8, 6), DType.FLOAT32)
    case = Case(op, [(x, None), (w, params), (bias, None)], output, (1, 2))
    found = options("Conv2D", SAME, (2, 1), Activation.RELU, dilationHFactor=1, dilationWFactor=1)
    assert close(case.oracle(), case.litert("CONV_2D", found))


def test_dynamic_fully_connected_with_an_empty_row(rng: np.random.Generator) -> None:
    x, w = rng.normal(size=(7, 37)).astype(np.float32), weights(rng, (11, 37))
    x[3] = 0
    params, bias = per_tensor(DType.INT8, 0.006), rng.normal(size=11).astype(np.float32)
    output = ((7, 11), DType.FLOAT32)
    case = Case(ops.FullyConnected(), [(x, None), (w, params), (bias, None)], output, (1, 2))
    found = schema.FullyConnectedOptionsT()
    found.asymmetricQuantizeInputs = True
    assert close(case.oracle(), case.litert("FULLY_CONNECTED", found))
