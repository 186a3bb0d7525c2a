"""Cases of operators on each element, products and comparisons."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from tests.operators.cases.case import Case, Fed, Operand, Shape, f32, floats, i64, scalar

_PLANE = (1, 3, 4, 5)
_WHOLE: tuple[type[np.signedinteger[Any]], ...] = (np.int32, np.int64)
_INTS = np.array([[-7, 5, 3], [4, -3, 2]], np.int64)
_DIVISORS = np.array([[2, -3, 2], [-2, 2, 5]], np.int64)
_FLAGS = np.array([[True, False, True], [False, False, True]])


def elementwise() -> Iterator[Case]:
    """Yield the cases."""
    yield from _functions()
    yield from _pairs()
    yield from _many()
    yield from _products()
    yield from _integers()


def _functions() -> Iterator[Case]:
    plain = (
        *("Abs", "Neg", "Exp", "Floor", "Ceil", "Round", "Sign", "Sin", "Cos", "Tan", "Sinh"),
        *("Cosh", "Tanh", "Sigmoid", "Relu", "Softsign", "Softplus", "Erf", "Identity", "Atan"),
        *("Asinh", "HardSwish", "Mish", "Gelu", "IsNaN", "Elu", "Selu", "LeakyRelu", "Celu"),
        *("HardSigmoid", "ThresholdedRelu", "Shrink"),
    )
    firsts = {"IsNaN": 9, "Round": 11, "Celu": 12, "HardSwish": 14, "Mish": 18, "Gelu": 20}
    firsts |= dict.fromkeys(("Sign", "Sinh", "Cosh", "Asinh", "Erf", "Shrink"), 9)
    firsts["ThresholdedRelu"] = 10
    for name in plain:
        yield Case(name, (_PLANE,), since=firsts.get(name, 7), low=-4, high=4)
    for name in ("Log", "Sqrt", "Reciprocal"):
        yield Case(name, (_PLANE,), since=7, low=0.3, high=3)
    for name in ("Asin", "Acos", "Atanh"):
        yield Case(name, (_PLANE,), since=9, low=-0.9, high=0.9)
    yield Case("Acosh", (_PLANE,), since=9, low=1.1, high=3)
    halves = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], np.float32)
    yield Case("Round", (Fed(halves),), since=11)
    attributed: tuple[tuple[str, int, dict[str, float]], ...] = (
        ("Elu", 7, {"alpha": 0.4}),
        ("Elu", 7, {"alpha": -0.5}),
        ("Selu", 7, {"alpha": 1.2, "gamma": 0.7}),
        ("LeakyRelu", 7, {"alpha": 0.3}),
        ("LeakyRelu", 7, {"alpha": -0.3}),
        ("LeakyRelu", 7, {"alpha": 1.7}),
        ("Celu", 12, {"alpha": 2.0}),
        ("HardSigmoid", 7, {"alpha": 0.4, "beta": 0.3}),
        ("HardSigmoid", 7, {"alpha": -0.4, "beta": 0.3}),
        ("ThresholdedRelu", 10, {"alpha": 0.7}),
        ("Shrink", 9, {"lambd": 1.0, "bias": 0.5}),
        ("Shrink", 9, {"lambd": 0.5}),
    )
    for name, since, attributes in attributed:
        yield Case(name, (_PLANE,), attributes, since=since, low=-4, high=4)
    for approximate in ("none", "tanh"):
        yield Case("Gelu", (_PLANE,), {"approximate": approximate}, since=20, low=-4, high=4)
    for sign in ({}, {"detect_negative": 0}, {"detect_positive": 0}):
        yield Case("IsInf", (_PLANE,), sign, since=10)
    for low, high in (
        (None, None),
        (-0.5, None),
        (None, 0.5),
        (-0.5, 1.0),
        (1.0, -1.0),
        (0.0, 6.0),
    ):
        bounds = [None if b is None else scalar(b) for b in (low, high)]
        operands: tuple[Operand, ...] = (_PLANE, *bounds)
        yield Case("Clip", operands, since=11, label=f"{low} to {high}")
        given = {k: v for k, v in (("min", low), ("max", high)) if v is not None}
        yield Case("Clip", (_PLANE,), given, since=7, until=10)
    yield Case("Clip", (_PLANE, Fed(scalar(-0.5)), Fed(scalar(0.7))), since=11)
    yield Case("Clip", (Fed(_INTS), scalar(-3, np.int64), scalar(3, np.int64)), since=12)
    for axis in (0, 1, 2, 3, -1, -2, -4):
        for name, (since, until) in product(
            ("Softmax", "LogSoftmax", "Hardmax"), ((7, 10), (11, 12), (13, 23))
        ):
            if axis >= 0 or since > 10:
                yield Case(name, ((2, 3, 4, 5),), {"axis": axis}, since, until)
    for name, (since, until) in product(("Softmax", "Hardmax"), ((7, 10), (11, 12), (13, 23))):
        yield Case(name, ((2, 3, 4),), {}, since, until)
    slopes: tuple[tuple[Shape, Shape], ...] = (
        ((1, 3, 4, 5), (3, 1, 1)),
        ((1, 3, 4, 5), (5,)),
        ((1, 3, 4, 5), (1,)),
        ((1, 3, 4, 5), (4, 1)),
        ((1, 3, 4, 5), (1, 3, 1, 1)),
        ((1, 5, 5, 5), (5,)),
        ((2, 5), (5,)),
        ((2, 5), (2, 1)),
        ((3, 3), (3,)),
        ((2, 3, 3), (3,)),
        ((2, 3, 3), (3, 1)),
    )
    for shape, slope in slopes:
        yield Case("PRelu", (shape, floats(*slope)), since=9)
        yield Case("PRelu", (shape, slope), since=9)
    for to in (1, 6, 7, 9, 2, 3):
        yield Case("Cast", (_PLANE,), {"to": to}, since=9, low=0 if to == 2 else -5, high=5)
        yield Case("Cast", (Fed(np.abs(_INTS)),), {"to": to}, since=9)
        yield Case("Cast", (Fed(_FLAGS),), {"to": to}, since=9)
    yield Case("CastLike", (_PLANE, scalar(1, np.int64)), since=15)


def _pairs() -> Iterator[Case]:
    shapes: tuple[tuple[Operand, Operand], ...] = (
        (_PLANE, _PLANE),
        (_PLANE, (3, 1, 1)),
        ((4, 5), _PLANE),
        ((3, 1), (1, 4)),
        (_PLANE, scalar(1.3)),
        (scalar(1.3), _PLANE),
        (f32(0.5, 1.5, 0.7, 1.2, 2.0), _PLANE),
        ((5,), (5,)),
        ((2, 1, 3, 1, 2), (4, 1, 3, 1)),
    )
    for name, operands in product(("Add", "Sub", "Mul", "Div", "Pow"), shapes):
        yield Case(name, operands, since=7, low=0.5, high=2)
    for name, operands in product(("Max", "Min"), shapes):
        yield Case(name, operands, since=8, low=0.5, high=2)
    relations = ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual")
    for name, operands in product(relations, shapes[:4]):
        since = {"Equal": 11, "GreaterOrEqual": 12, "LessOrEqual": 12}.get(name, 9)
        yield Case(name, operands, since=since, low=0.5, high=2)
    for exponent in (0.0, 0.5, 1.0, 2.0, 3.0, -1.0, -2.0, 0.3):
        yield Case("Pow", (_PLANE, scalar(exponent)), since=7, low=0.4, high=3, label=f"{exponent}")
    yield Case("Pow", (_PLANE, scalar(2.0)), since=7, label="of negative")
    yield Case("Pow", (_PLANE, scalar(3.0)), since=7, label="of negative, odd")
    yield Case("Pow", (_PLANE, scalar(2, np.int64)), since=12, label="whole")
    for operands in ((_PLANE, _PLANE), (_PLANE, (3, 1, 1)), (_PLANE, scalar(0.7))):
        yield Case("Mod", operands, {"fmod": 1}, since=10, high=3)
    for fmod, kind in product((0, 1), _WHOLE):
        integers = (Fed(_INTS.astype(kind)), Fed(_DIVISORS.astype(kind)))
        yield Case("Mod", integers, {"fmod": fmod}, since=10)
    for direction in ("LEFT", "RIGHT"):
        bits = (Fed(np.array([1, 2, 5], np.uint8)), Fed(np.array([1, 2, 3], np.uint8)))
        yield Case("BitShift", bits, {"direction": direction}, since=11)
    for shapes3 in ((_PLANE, _PLANE), ((4, 5), _PLANE), ((3, 1, 1), scalar(0.5))):
        flags = Fed(np.indices((1, 3, 4, 5)).sum(0) % 2 == 0)
        yield Case("Where", (flags, *shapes3), since=9)
    yield Case("Where", (Fed(_FLAGS), Fed(_INTS), Fed(_DIVISORS)), since=9)


def _many() -> Iterator[Case]:
    for name in ("Sum", "Mean", "Max", "Min"):
        yield Case(name, (_PLANE,), since=8)
        yield Case(name, (_PLANE, (3, 1, 1), (5,)), since=8)
        yield Case(name, (_PLANE, _PLANE, _PLANE, scalar(0.25)), since=8)


def _products() -> Iterator[Case]:
    for a, b in product((0, 1), (0, 1)):
        left, right = ((6, 3) if a else (3, 6)), ((5, 6) if b else (6, 5))
        for alpha, beta in ((1.0, 1.0), (0.5, 2.0), (2.0, 0.0)):
            given = {"transA": a, "transB": b, "alpha": alpha, "beta": beta}
            for bias in (floats(5), floats(3, 5), floats(3, 1), floats(1), scalar(0.3)):
                yield Case("Gemm", (left, floats(*right), bias), given, since=7)
            yield Case("Gemm", (left, right), given, since=11)
        yield Case("Gemm", (left, right, (5,)), {"transA": a, "transB": b, "alpha": 0.5}, since=7)
        yield Case("Gemm", (floats(*left), right), {"transA": a, "transB": b}, since=11)
    pairs: tuple[tuple[Shape, Shape], ...] = (
        ((4,), (4,)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((3, 4), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((3, 4), (2, 4, 5)),
        ((1, 2, 3, 4), (3, 1, 4, 5)),
    )
    for one, other in pairs:
        yield Case("MatMul", (one, other), since=7)
        yield Case("MatMul", (one, floats(*other)), since=7)
        yield Case("MatMul", (floats(*one), other), since=7)
    equations: tuple[tuple[str, tuple[Shape, ...]], ...] = (
        ("ij,jk->ik", ((3, 4), (4, 5))),
        ("ij,jk", ((3, 4), (4, 5))),
        ("bij,bjk->bik", ((2, 3, 4), (2, 4, 5))),
        ("bhid,bhjd->bhij", ((1, 2, 3, 4), (1, 2, 5, 4))),
        ("...ij,...jk->...ik", ((2, 3, 4), (4, 5))),
        ("ij->ji", ((3, 4),)),
        ("ij->j", ((3, 4),)),
        ("ij->", ((3, 4),)),
        ("ii->i", ((4, 4),)),
        ("ii->", ((4, 4),)),
        ("i,j->ij", ((3,), (4,))),
        ("i,i->", ((3,), (3,))),
        ("ij,ij->ij", ((3, 4), (3, 4))),
        ("ij,kj->ki", ((3, 4), (5, 4))),
        ("bqd,bkd->bqk", ((2, 3, 4), (2, 5, 4))),
        ("abc,cd,de->abe", ((2, 3, 4), (4, 5), (5, 2))),
        ("nchw,c->nchw", ((1, 3, 4, 5), (3,))),
        ("b i j , b j k -> b k i", ((2, 3, 4), (2, 4, 5))),
        ("iij->ij", ((3, 3, 2),)),
        ("iji->j", ((3, 2, 3),)),
        ("ii,ij->j", ((3, 3), (3, 2))),
        ("ab,ac,ad->dabc", ((2, 3), (2, 4), (2, 5))),
    )
    for equation, shapes in equations:
        yield Case("Einsum", shapes, {"equation": equation}, since=12)


def _integers() -> Iterator[Case]:
    for name, kind in product(("Add", "Sub", "Mul", "Div", "Max", "Min"), _WHOLE):
        since = 12 if name in {"Max", "Min"} else 7
        yield Case(name, (Fed(_INTS.astype(kind)), Fed(_DIVISORS.astype(kind))), since=since)
        yield Case(name, (Fed(_INTS.astype(kind)), scalar(2, kind)), since=since)
    for name in ("Abs", "Neg", "Sign"):
        yield Case(name, (Fed(_INTS),), since=9)
    for name in ("And", "Or", "Xor"):
        yield Case(name, (Fed(_FLAGS), Fed(~_FLAGS[:1])), since=7)
    yield Case("Not", (Fed(_FLAGS),), since=7)
    yield Case("Equal", (Fed(_FLAGS), Fed(_FLAGS[:1])), since=11)
    for name in ("Equal", "Greater", "Less"):
        yield Case(name, (Fed(_INTS), Fed(_DIVISORS)), since=11)
    for name in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
        yield Case(name, (Fed(_INTS), Fed(_DIVISORS)), since=18)
    yield Case("BitwiseNot", (Fed(_INTS),), since=18)
    yield Case("Pow", (Fed(_INTS), i64(2, 1, 3)), since=12)
