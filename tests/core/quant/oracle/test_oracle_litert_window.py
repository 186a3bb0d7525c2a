"""Reductions, pooling, resampling and softmax, bit for bit with LiteRT's reference kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.ops import Layout
from qhal.quant.model import QuantParams
from tests.core.quant.oracle.oracle_litert import Case, integers, per_tensor, schema

INT8, INT16 = DType.INT8, DType.INT16
SHAPE = (2, 7, 6, 5)
PARAMS = {
    INT8: [(per_tensor(INT8, 0.021, -77), per_tensor(INT8, 0.013, 40))],
    INT16: [(per_tensor(INT16, 0.0004), per_tensor(INT16, 0.0003))],
}
both = pytest.mark.parametrize("dtype", [INT8, INT16])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def params(dtype: DType) -> tuple[QuantParams, QuantParams]:
    return PARAMS[dtype][0]


def reducer() -> Any:
    found = schema.ReducerOptionsT()
    found.keepDims = True
    return found


def axes_of(*axes: int) -> list[np.ndarray]:
    return [np.array(axes, np.int32)]


@both
@pytest.mark.parametrize("axes", [(1, 2), (3,), (1,), (1, 2, 3)])
def test_mean(rng: np.random.Generator, dtype: DType, axes: tuple[int, ...]) -> None:
    source, output = params(dtype)
    shape = tuple(1 if i in axes else s for i, s in enumerate(SHAPE))
    x = integers(rng, SHAPE, dtype)
    case = Case(ops.Reduce("Mean", axes), [(x, source)], (shape, output))
    assert np.array_equal(case.oracle(), case.litert("MEAN", reducer(), axes_of(*axes)))


def test_sum_is_the_optimized_kernel_to_one_step(rng: np.random.Generator) -> None:
    """LiteRT 2.3's reference kernel reads int8 as uint8 (SUM in tflite/kernels/reduce.cc)."""
    source, output = per_tensor(INT8, 0.02, 3), per_tensor(INT8, 0.2, -9)
    x = integers(rng, SHAPE, INT8)
    case = Case(ops.Reduce("Sum", (1, 2)), [(x, source)], ((2, 1, 1, 5), output))
    theirs = case.litert("SUM", reducer(), axes_of(1, 2), optimized=True)
    assert np.abs(case.oracle().astype(int) - theirs).max() <= 1


@both
@pytest.mark.parametrize("function", ["Max", "Min"])
def test_extremes(rng: np.random.Generator, dtype: DType, function: str) -> None:
    source, _ = params(dtype)
    x = integers(rng, SHAPE, dtype)
    case = Case(ops.Reduce(function, (1, 2)), [(x, source)], ((2, 1, 1, 5), source))
    theirs = case.litert(f"REDUCE_{function.upper()}", reducer(), axes_of(1, 2))
    assert np.array_equal(case.oracle(), theirs)


@both
@pytest.mark.parametrize(
    ("kind", "builtin"), [(ops.AveragePool, "AVERAGE_POOL_2D"), (ops.MaxPool, "MAX_POOL_2D")]
)
def test_pooling(
    rng: np.random.Generator,
    dtype: DType,
    kind: type[ops.AveragePool] | type[ops.MaxPool],
    builtin: str,
) -> None:
    source, _ = params(dtype)
    x = integers(rng, SHAPE, dtype)
    op = kind((3, 3), (2, 2), (1, 0, 1, 1), layout=Layout.NHWC)
    case = Case(op, [(x, source)], ((2, 4, 3, 5), source))
    options = schema.Pool2DOptionsT()
    options.padding, options.strideH, options.strideW = schema.Padding.SAME, 2, 2
    options.filterHeight = options.filterWidth = 3
    assert np.array_equal(case.oracle(), case.litert(builtin, options))


@both
@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners", "asymmetric"])
@pytest.mark.parametrize("size", [(13, 12), (5, 9), (3, 2)])
def test_bilinear(
    rng: np.random.Generator, dtype: DType, coordinates: str, size: tuple[int, int]
) -> None:
    source, _ = params(dtype)
    x = integers(rng, SHAPE, dtype)
    op = ops.Resize("linear", size, coordinates, layout=Layout.NHWC)
    case = Case(op, [(x, source)], ((2, *size, 5), source))
    options = schema.ResizeBilinearOptionsT()
    options.alignCorners = coordinates == "align_corners"
    options.halfPixelCenters = coordinates == "half_pixel"
    assert np.array_equal(case.oracle(), case.litert("RESIZE_BILINEAR", options, axes_of(*size)))


@pytest.mark.parametrize("size", [(13, 12), (14, 18), (3, 2)])
def test_nearest(rng: np.random.Generator, size: tuple[int, int]) -> None:
    source, _ = params(INT8)
    x = integers(rng, SHAPE, INT8)
    op = ops.Resize("nearest", size, "asymmetric", "floor", layout=Layout.NHWC)
    case = Case(op, [(x, source)], ((2, *size, 5), source))
    options = schema.ResizeNearestNeighborOptionsT()
    theirs = case.litert("RESIZE_NEAREST_NEIGHBOR", options, axes_of(*size))
    assert np.array_equal(case.oracle(), theirs)


@both
@pytest.mark.parametrize("scale", [0.005, 0.05, 1.3])
def test_softmax(rng: np.random.Generator, dtype: DType, scale: float) -> None:
    source = per_tensor(dtype, scale if dtype is INT8 else scale / 256, -5 * (dtype is INT8))
    fraction = per_tensor(INT8, 1 / 256, -128) if dtype is INT8 else per_tensor(dtype, 1 / 32768)
    x = integers(rng, (40, 33), dtype)
    x[3] = 5
    case = Case(ops.Softmax(1), [(x, source)], (x.shape, fraction))
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    assert np.array_equal(case.oracle(), case.litert("SOFTMAX", options))


def test_log_softmax_to_one_step(rng: np.random.Generator) -> None:
    source, output = per_tensor(INT8, 0.07, 4), per_tensor(INT8, 16 / 256, 127)
    x = integers(rng, (40, 33), INT8)
    case = Case(ops.LogSoftmax(1), [(x, source)], (x.shape, output))
    theirs = case.litert("LOG_SOFTMAX", schema.LogSoftmaxOptionsT())
    assert np.abs(case.oracle().astype(int) - theirs).max() <= 1


def test_arg_max(rng: np.random.Generator) -> None:
    source, _ = params(INT8)
    x = integers(rng, (4, 50), INT8)
    case = Case(ops.ArgMax(1, keepdims=False), [(x, source)], ((4,), DType.INT64))
    options = schema.ArgMaxOptionsT()
    options.outputType = schema.TensorType.INT64
    assert np.array_equal(case.oracle(), case.litert("ARG_MAX", options, [np.array(1, np.int32)]))
