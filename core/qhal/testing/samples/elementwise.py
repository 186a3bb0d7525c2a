"""Samples of operators on each element."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import TensorType
from qhal.ir.ops import Activation
from qhal.testing.samples.sample import PLANE, Sample, Shape, uniform


def binary(rng: np.random.Generator) -> Iterator[Sample]:
    """Yield operators on two or three operands: equal shapes, broadcasting, scalars, integers."""
    for op in (ops.Add, ops.Sub, ops.Mul, ops.Maximum, ops.Minimum, ops.Compare):
        yield Sample(op(), (PLANE, PLANE))
        yield Sample(op(), (PLANE, (1, 4, 1, 1)), label="broadcast")
        yield Sample(op(), ((3, 4),), (np.asarray(0.25, np.float32),), label="scalar")
        for kind in (DType.INT32, DType.INT64):
            both = (TensorType((2, 3), kind),) * 2
            yield Sample(op(), both, label=kind.value)
    for op in (ops.Add, ops.Sub, ops.Mul):
        yield Sample(op(Activation.RELU), (PLANE, PLANE), label="relu")
        yield Sample(op(Activation.RELU6), (PLANE, (6, 1)), label="relu6")
    five: tuple[Shape, Shape] = ((2, 3, 4, 5, 6), (4, 1, 6))
    for op in (ops.Add, ops.Sub, ops.Maximum, ops.Minimum):
        yield Sample(op(), five, label="rank5")
    yield Sample(ops.Add(), ((2, 2, 3, 2, 5, 2), (3, 1, 1, 2)), label="rank6")
    yield Sample(ops.Mul(), (five[0], five[0]), label="rank5-same")
    yield Sample(ops.Mul(), ((1, 6, 3, 2, 2), (1, 6, 1, 2, 1)), label="rank5-mixed")
    yield Sample(ops.Mul(), five, label="rank5")
    yield Sample(ops.Sub(), ((2, 3, 4, 1, 5),), (uniform(rng, 3, 1, 2, 1),), label="rank5-constant")
    yield Sample(ops.Compare("<"), (five[0], five[0]), label="rank5-same")
    yield Sample(ops.Mod(), ((5,), (3, 1)), low=0.5, high=3, label="outer")
    for dtype in (DType.FLOAT32, DType.INT32, DType.INT64):
        divisor = (np.asarray([-3, 2], dtype.numpy),)
        inputs = (TensorType((3, 2), dtype),)
        yield Sample(ops.Mod(), inputs, divisor, low=-9, high=9, label=dtype.value)
    for function in ("And", "Or", "Xor"):
        flags, row = TensorType(PLANE, DType.BOOL), TensorType((6, 1), DType.BOOL)
        yield Sample(ops.Logical(function), (flags, row), label=function)
    yield Sample(ops.Where(), (TensorType(five[0], DType.BOOL), *five), label="rank5")
    for relation in ("<", "<=", ">", ">="):
        yield Sample(ops.Compare(relation), (PLANE, PLANE), label=relation)
    positive: dict[str, Any] = {"low": 0.5, "high": 2.0}
    yield Sample(ops.Div(), (PLANE, PLANE), **positive)
    yield Sample(ops.Div(Activation.RELU), (PLANE, (1, 4, 1, 1)), label="broadcast", **positive)
    yield Sample(ops.Div(), five, label="rank5", **positive)
    yield Sample(ops.Pow(), (PLANE, PLANE), **positive)
    yield Sample(ops.Pow(), (five[0], five[0]), label="rank5-same", **positive)
    yield Sample(ops.Pow(), (PLANE,), (np.asarray(2.0, np.float32),), label="scalar")
    flag = TensorType(PLANE, DType.BOOL)
    yield Sample(ops.Where(), (flag, PLANE, PLANE))
    yield Sample(
        ops.Where(), (TensorType((1, 1, 6, 7), DType.BOOL), PLANE, (1,)), label="broadcast"
    )
    fill = (np.asarray(-1.0, np.float32),)
    yield Sample(ops.Where(), (flag, PLANE), fill, label="fill")
    yield Sample(ops.Where(), (flag, *(TensorType(PLANE, DType.INT64),) * 2), label="int64")


def unary(rng: np.random.Generator) -> Iterator[Sample]:
    """Yield activations, functions and casts."""
    plain = (ops.Relu(), ops.Relu6(), ops.LeakyRelu(0.1), ops.Elu(), ops.Sigmoid(), ops.Tanh())
    more = (ops.Gelu(), ops.Unary("Abs"), ops.Unary("Neg"), ops.Unary("Exp"))
    for op in (*plain, *more):
        yield Sample(op, (PLANE,), low=-4, high=7)
    yield Sample(ops.Relu(), ((5,),), label="rank1")
    yield Sample(ops.Sigmoid(), ((2, 3, 4, 5, 6),), label="rank5")
    yield Sample(ops.LeakyRelu(0.2), ((2, 3, 4, 5, 6),), label="rank5")
    yield Sample(ops.Gelu(True), (PLANE,), label="tanh")
    for function in ("Log", "Sqrt", "Rsqrt", "Reciprocal"):
        yield Sample(ops.Unary(function), (PLANE,), low=0.5, high=3)
    for function in ("Sin", "Cos", "Floor", "Ceil", "Round", "Sign"):
        yield Sample(ops.Unary(function), (PLANE,), low=-3, high=3)
    yield Sample(ops.Unary("Not"), (TensorType((2, 3), DType.BOOL),))
    yield Sample(ops.PRelu(), (PLANE,), (uniform(rng, 4, 1, 1),))
    yield Sample(ops.PRelu(), ((3, 8),), (uniform(rng, 8),), label="rank2")
    for low, high in ((-1.0, 1.0), (0.0, np.inf), (-np.inf, 1.5), (-np.inf, np.inf)):
        yield Sample(ops.Clip(low, high), (PLANE,), label=f"{low}-{high}")
    for source, to in (
        (DType.FLOAT32, DType.INT32),
        (DType.INT64, DType.FLOAT32),
        (DType.UINT8, DType.FLOAT32),
        (DType.BOOL, DType.FLOAT32),
        (DType.INT32, DType.INT64),
        (DType.FLOAT32, DType.BOOL),
        (DType.FLOAT32, DType.INT64),
    ):
        kind = TensorType((2, 3), source)
        yield Sample(ops.Cast(to), (kind,), label=f"{source.value}-{to.value}", low=-5, high=5)
