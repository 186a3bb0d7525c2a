"""The float arithmetic against ONNX Runtime's fused QDQ graphs."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import TensorType
from qhal.ir.ops import Activation
from qhal.ir.shapes import infer
from qhal.quant.arithmetic import bias_params
from qhal.quant.model import QuantParams
from qhal.targets.capability import Arithmetic
from tests.core.quant.oracle.oracle_litert import Case, integers, per_axis, per_tensor, weights
from tests.core.quant.oracle.oracle_ort import quantized

SHAPE = (2, 5, 9, 8)
types = pytest.mark.parametrize("dtype", [DType.INT8, DType.UINT8])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(13)


def params(dtype: DType) -> tuple[QuantParams, QuantParams]:
    zero_point = -7 if dtype is DType.INT8 else 120
    return per_tensor(dtype, 0.0301, zero_point), per_tensor(dtype, 0.0507, zero_point + 3)


def steps(case: Case) -> tuple[int, float]:
    """Largest difference, and share of elements that differ."""
    op, output = case.op, case.result_params
    assert output is not None
    theirs = quantized(op, case.operands, output, case.constants)
    difference = np.abs(case.oracle(Arithmetic.FLOAT).astype(int) - theirs.astype(int))
    return difference.max(), (difference > 0).mean()


def biased(
    rng: np.random.Generator, source: QuantParams, weight: QuantParams, count: int
) -> tuple[np.ndarray, QuantParams]:
    values = rng.integers(-3000, 3000, count).astype(np.int32)
    return values, bias_params(source, weight, DType.INT32)


@types
@pytest.mark.parametrize("activation", list(Activation))
def test_conv(rng: np.random.Generator, dtype: DType, activation: Activation) -> None:
    source, output = params(dtype)
    w, about = weights(rng, (6, 5, 3, 3)), per_axis(rng, 6, 0)
    operands = [(integers(rng, SHAPE, dtype), source), (w, about), biased(rng, source, about, 6)]
    op = ops.Conv((2, 1), (1, 1, 1, 1), (1, 1), 1, activation)
    assert steps(Case(op, operands, ((2, 6, 5, 8), output), (1, 2))) == (0, 0)


@types
def test_depthwise_conv(rng: np.random.Generator, dtype: DType) -> None:
    source, output = params(dtype)
    w, about = weights(rng, (5, 1, 3, 3)), per_axis(rng, 5, 0)
    operands = [(integers(rng, SHAPE, dtype), source), (w, about), biased(rng, source, about, 5)]
    op = ops.DepthwiseConv((1, 1), (1, 1, 1, 1), (1, 1))
    assert steps(Case(op, operands, (SHAPE, output), (1, 2))) == (0, 0)


@types
def test_fully_connected(rng: np.random.Generator, dtype: DType) -> None:
    source, output = params(dtype)
    w, about = weights(rng, (11, 33)), per_axis(rng, 11, 0)
    operands = [(integers(rng, (7, 33), dtype), source), (w, about), biased(rng, source, about, 11)]
    assert steps(Case(ops.FullyConnected(), operands, ((7, 11), output), (1, 2))) == (0, 0)


@types
def test_product_of_activations(rng: np.random.Generator, dtype: DType) -> None:
    source, _ = params(dtype)
    right, output = per_tensor(dtype, 0.021, 9), per_tensor(dtype, 0.2, 4)
    operands = [
        (integers(rng, (3, 8, 17), dtype), source),
        (integers(rng, (3, 17, 9), dtype), right),
    ]
    assert steps(Case(ops.MatMul(), operands, ((3, 8, 9), output))) == (0, 0)


@types
@pytest.mark.parametrize("op", [ops.Add(), ops.Sub(), ops.Mul(), ops.Add(Activation.RELU)])
def test_two_operands(rng: np.random.Generator, dtype: DType, op: ops.Op) -> None:
    source, output = params(dtype)
    right = per_tensor(dtype, 0.0213, 9)
    operands = [(integers(rng, SHAPE, dtype), source), (integers(rng, (1, 5, 1, 1), dtype), right)]
    largest, share = steps(Case(op, operands, (SHAPE, output)))
    assert largest <= 1
    assert share <= 0.005


FUNCTIONS = [
    ops.Sigmoid(),
    ops.Tanh(),
    ops.LeakyRelu(0.1),
    ops.HardSwish(),
    ops.HardSigmoid(),
    ops.Silu(),
    ops.Gelu(),
    ops.Elu(),
    ops.Relu(),
    ops.Clip(-1.0, 2.0),
    ops.Softmax(1),
    ops.Reduce("Mean", (2, 3)),
    ops.Reduce("Sum", (1,)),
    ops.AveragePool((3, 3), (2, 2), (1, 1, 1, 1)),
    ops.Resize("linear", (18, 16)),
]


@types
@pytest.mark.parametrize("op", FUNCTIONS, ids=lambda op: op.kind)
def test_functions(rng: np.random.Generator, dtype: DType, op: ops.Op) -> None:
    source, output = params(dtype)
    if isinstance(op, ops.Sigmoid | ops.Softmax):
        output = per_tensor(dtype, 1 / 256, dtype.qmin)
    (kind,) = infer(op, [TensorType(SHAPE)])
    case = Case(op, [(integers(rng, SHAPE, dtype), source)], (kind.shape, output))
    largest, share = steps(case)
    assert largest <= 1
    assert share <= 0.06


@types
@pytest.mark.parametrize(
    "op",
    [
        ops.MaxPool((3, 3), (2, 2), (1, 1, 1, 1)),
        ops.Resize("nearest", (18, 16), "asymmetric", "floor"),
        ops.Reduce("Max", (1,)),
        ops.Transpose((0, 2, 3, 1)),
        ops.Slice((0, 1, 0, 7), (2, 3, 9, 3), (1, 1, 1, -2)),
        ops.Pad((0, 0, 1, 2, 0, 0, 1, 0)),
        ops.Pad((0, 0, 1, 2, 0, 0, 1, 0), "reflect"),
    ],
    ids=lambda op: op.kind,
)
def test_what_moves_is_not_rounded(rng: np.random.Generator, dtype: DType, op: ops.Op) -> None:
    source, _ = params(dtype)
    (kind,) = infer(op, [TensorType(SHAPE)])
    case = Case(op, [(integers(rng, SHAPE, dtype), source)], (kind.shape, source))
    assert steps(case) == (0, 0)


@types
def test_concat_requantizes(rng: np.random.Generator, dtype: DType) -> None:
    source, output = params(dtype)
    other = per_tensor(dtype, 0.0213, 9)
    operands = [(integers(rng, SHAPE, dtype), source), (integers(rng, SHAPE, dtype), other)]
    assert steps(Case(ops.Concat(1), operands, ((2, 10, 9, 8), output))) == (0, 0)


def test_sixteen_bits(rng: np.random.Generator) -> None:
    source, output = (
        per_tensor(DType.UINT16, 0.0003, 32768),
        per_tensor(DType.UINT16, 0.0005, 30000),
    )
    x = integers(rng, SHAPE, DType.UINT16)
    largest, _ = steps(Case(ops.Add(), [(x, source), (x[:1], source)], (SHAPE, output)))
    assert largest <= 1


def test_quantize_rounds_half_to_even() -> None:
    output = per_tensor(DType.UINT8, 0.25, 3)
    x = np.arange(-2000, 2000).astype(np.float32) / 8
    case = Case(ops.Quantize(), [(x, None)], (x.shape, output))
    wanted = np.clip(np.rint(x / np.float32(0.25)) + 3, 0, 255)
    assert np.array_equal(case.oracle(Arithmetic.FLOAT), wanted)
