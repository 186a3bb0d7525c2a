"""Element-wise kernels and tables, bit for bit with LiteRT's reference kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.ops import Activation
from qhal.quant.model import QuantParams
from tests.core.quant.oracle.oracle_litert import Case, integers, per_tensor, schema

INT8, INT16 = DType.INT8, DType.INT16
FUSED = {Activation.NONE: 0, Activation.RELU: 1, Activation.RELU6: 3}

FIXED = {
    ("LOGISTIC", INT8): per_tensor(INT8, 1 / 256, -128),
    ("TANH", INT8): per_tensor(INT8, 1 / 128, 0),
    ("LOGISTIC", INT16): per_tensor(INT16, 1 / 32768),
    ("TANH", INT16): per_tensor(INT16, 1 / 32768),
}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def draw(seed: int, dtype: DType) -> tuple[QuantParams, QuantParams]:
    """Parameters of an input and an output."""
    rng = np.random.default_rng(seed)
    if dtype is INT16:
        if seed == 0:
            return per_tensor(dtype, 2.0**-12), per_tensor(dtype, 2.0**-13)
        first, second = (per_tensor(dtype, s) for s in rng.uniform(0.0001, 0.001, 2))
        return first, second
    if seed == 0:
        return per_tensor(dtype, 0.05, -128), per_tensor(dtype, 0.05, -128)
    zero_points = rng.integers(-128, 128, 2)
    first, second = (
        per_tensor(dtype, s, int(z))
        for s, z in zip(rng.uniform(0.005, 0.1, 2), zero_points, strict=True)
    )
    return first, second


def every(dtype: DType) -> np.ndarray:
    return np.arange(dtype.qmin, dtype.qmax + 1).astype(dtype.numpy)


def leaky() -> Any:
    found = schema.LeakyReluOptionsT()
    found.alpha = 0.1
    return found


def gelu(approximate: bool) -> Any:
    found = schema.GeluOptionsT()
    found.approximate = approximate
    return found


FUNCTIONS = [
    (ops.Relu(), "RELU", None),
    (ops.Relu6(), "RELU6", None),
    (ops.LeakyRelu(0.1), "LEAKY_RELU", leaky()),
    (ops.Sigmoid(), "LOGISTIC", None),
    (ops.Tanh(), "TANH", None),
    (ops.Gelu(), "GELU", gelu(False)),
    (ops.Gelu(True), "GELU", gelu(True)),
    (ops.Unary("Exp"), "EXP", None),
    (ops.Unary("Abs"), "ABS", None),
    (ops.Requantize(), "QUANTIZE", schema.QuantizeOptionsT()),
]
ONLY_8 = [
    (ops.Clip(-1.0, 1.0), "RELU_N1_TO_1", None),
    (ops.HardSwish(), "HARD_SWISH", None),
    (ops.Unary("Log"), "LOG", None),
]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("op", "builtin", "options"), FUNCTIONS + ONLY_8)
def test_functions_of_8_bits(op: ops.Op, builtin: str, options: Any, seed: int) -> None:
    source, output = draw(seed, INT8)
    output = FIXED.get((builtin, INT8), output)
    case = Case(op, [(every(INT8), source)], ((256,), output))
    assert np.array_equal(case.oracle(), case.litert(builtin, options))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("op", "builtin", "options"), FUNCTIONS)
def test_functions_of_16_bits(op: ops.Op, builtin: str, options: Any, seed: int) -> None:
    source, output = draw(seed, INT16)
    output = FIXED.get((builtin, INT16), output)
    case = Case(op, [(every(INT16), source)], ((65536,), output))
    assert np.array_equal(case.oracle(), case.litert(builtin, options))


@pytest.mark.parametrize("function", ["Sqrt", "Rsqrt"])
@pytest.mark.parametrize("seed", range(3))
def test_roots(function: str, seed: int) -> None:
    source, output = draw(seed, INT8)
    source = per_tensor(INT8, float(source.scale), -128)
    case = Case(ops.Unary(function), [(every(INT8), source)], ((256,), output))
    assert np.array_equal(case.oracle(), case.litert(function.upper()))


@pytest.mark.parametrize("dtype", [INT8, INT16])
@pytest.mark.parametrize("activation", list(Activation))
@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize("seed", range(1, 4))
def test_two_operands(
    rng: np.random.Generator, kind: str, activation: Activation, dtype: DType, seed: int
) -> None:
    left, output = draw(seed, dtype)
    right, _ = draw(seed + 20, dtype)
    if kind == "Mul":
        scale = float(left.scale) * float(right.scale) * (dtype.qmax / 3)
        output = per_tensor(dtype, scale, int(output.zero_point))
    a, b = integers(rng, (4, 64, 7), dtype), integers(rng, (1, 64, 1), dtype)
    op = getattr(ops, kind)(activation)
    case = Case(op, [(a, left), (b, right)], (a.shape, output))
    options = getattr(schema, f"{kind}OptionsT")()
    options.fusedActivationFunction = FUSED[activation]
    assert np.array_equal(case.oracle(), case.litert(kind.upper(), options))


@pytest.mark.parametrize("seed", range(3))
def test_prelu(rng: np.random.Generator, seed: int) -> None:
    source, output = draw(seed, INT8)
    x, slope = integers(rng, (2, 5, 5, 6), INT8), integers(rng, (1, 1, 6), INT8)
    operands = [(x, source), (slope, per_tensor(INT8, 0.004, 3))]
    case = Case(ops.PRelu(), operands, (x.shape, output), (1,))
    assert np.array_equal(case.oracle(), case.litert("PRELU"))


@pytest.mark.parametrize(
    ("op", "builtin"), [(ops.Maximum(), "MAXIMUM"), (ops.Minimum(), "MINIMUM")]
)
def test_extremes(rng: np.random.Generator, op: ops.Op, builtin: str) -> None:
    params, _ = draw(2, INT8)
    a, b = integers(rng, (3, 20, 5), INT8), integers(rng, (1, 20, 1), INT8)
    case = Case(op, [(a, params), (b, params)], (a.shape, params))
    options = schema.MaximumMinimumOptionsT()
    assert np.array_equal(case.oracle(), case.litert(builtin, options))


@pytest.mark.parametrize("dtype", [INT8, DType.UINT8, INT16])
def test_quantize_rounds_half_away(dtype: DType) -> None:
    scale = 0.25 if dtype is not INT16 else 2.0**-12
    output = per_tensor(dtype, scale, 0 if dtype is INT16 else 3)
    x = np.arange(-2000, 2000).astype(np.float32) * np.float32(scale / 2)
    case = Case(ops.Quantize(), [(x, None)], (x.shape, output))
    assert np.array_equal(case.oracle(), case.litert("QUANTIZE", schema.QuantizeOptionsT()))


@pytest.mark.parametrize("dtype", [INT8, INT16])
def test_dequantize(dtype: DType) -> None:
    params = draw(3, dtype)[0]
    case = Case(ops.Dequantize(), [(every(dtype), params)], ((len(every(dtype)),), DType.FLOAT32))
    theirs = case.litert("DEQUANTIZE", schema.DequantizeOptionsT())
    assert np.array_equal(case.oracle(), theirs)


@pytest.mark.parametrize(("to", "scale", "zero"), [(INT8, 0.1, 3), (DType.UINT8, 0.05, 131)])
def test_requantize_to_another_type(to: DType, scale: float, zero: int) -> None:
    source = per_tensor(INT8, 0.05, 3)
    case = Case(ops.Requantize(), [(every(INT8), source)], ((256,), per_tensor(to, scale, zero)))
    assert np.array_equal(case.oracle(), case.litert("QUANTIZE", schema.QuantizeOptionsT()))
