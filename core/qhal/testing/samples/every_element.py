"""Samples of operators on each element, of normalizations and reductions, with every attribute."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product

import numpy as np

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, TensorType
from qhal.ir.ops import Activation
from qhal.testing.samples.sample import PLANE, Sample, Shape, uniform

_RELATIONS = ("==", "<", "<=", ">", ">=")
_WHOLE = (DType.INT32, DType.INT64)
_NUMBERS = (DType.FLOAT32, *_WHOLE)
_RANKS: tuple[Shape, ...] = (PLANE, (5,), (2, 3, 4, 2, 2))
_POSITIVE = frozenset({"Log", "Sqrt", "Rsqrt", "Reciprocal"})


def elements(rng: np.random.Generator) -> Iterator[Sample]:
    """Yield functions, pairs, comparisons, casts, normalizations and reductions."""
    yield from _pairs(rng)
    yield from _relations()
    yield from _functions()
    yield from _slopes(rng)
    yield from _casts()
    yield from _softmaxes()
    yield from _normalizations(rng)
    yield from _reductions()


def _wide(op: ops.Op, shape: Shape, label: str) -> Sample:
    """Make a sample of a function over numbers on both sides of its bends."""
    return Sample(op, (shape,), low=-6, high=8, label=f"every-{label}")


def _positive(rng: np.random.Generator, *shape: int) -> Array:
    return np.asarray(1.75 + uniform(rng, *shape).astype(np.float64), np.float32)


def _pairs(rng: np.random.Generator) -> Iterator[Sample]:
    for op, activation in product((ops.Add, ops.Sub, ops.Mul, ops.Div), Activation):
        label = f"every-{activation.value}"
        yield Sample(op(activation), (PLANE, PLANE), low=0.5, high=3, label=label)
    kinds = (ops.Add, ops.Sub, ops.Mul, ops.Div, ops.Pow, ops.Maximum, ops.Minimum, ops.Compare)
    for kind in kinds:
        one, more = (_positive(rng, 4),), (_positive(rng, 2, 3, 4),)
        yield Sample(kind(), ((5,), (3, 1)), low=0.5, high=3, label="every-outer")
        yield Sample(kind(), ((4,),), more, low=0.5, high=3, label="every-larger")
        yield Sample(kind(), ((2, 4),), first=one, low=0.5, high=3, label="every-first")
        for dtype in _WHOLE:
            threes = (np.full(3, 3, dtype.numpy),)
            inputs = (TensorType((2, 3), dtype),)
            yield Sample(kind(), inputs, threes, label=f"every-{dtype.value}-constant")
    for exponent in (0.5, 1.0, 3.0, -1.0):
        power = (np.asarray(exponent, np.float32),)
        yield Sample(ops.Pow(), (PLANE,), power, low=0.2, high=3, label=f"every-{exponent}")


def _relations() -> Iterator[Sample]:
    for relation, dtype in product(_RELATIONS, _NUMBERS):
        kind, one = TensorType((2, 3), dtype), (np.asarray(1, dtype.numpy),)
        label = f"every-{relation}-{dtype.value}"
        yield Sample(ops.Compare(relation), (kind, kind), label=label)
        yield Sample(ops.Compare(relation), (kind,), one, label=f"{label}-scalar")
    flags = TensorType((2, 3), DType.BOOL)
    yield Sample(ops.Compare(), (flags, flags), label="every-bool")
    yield Sample(ops.Where(), (flags, *(TensorType((2, 3), DType.INT32),) * 2), label="every-int32")
    yield Sample(ops.Where(), (TensorType((3, 1), DType.BOOL), (4,), (1,)), label="every-outer")


def _functions() -> Iterator[Sample]:
    plain = (ops.Relu(), ops.Relu6(), ops.Sigmoid(), ops.Tanh(), ops.HardSwish(), ops.Silu())
    for shape, op in product(_RANKS, plain):
        yield _wide(op, shape, f"rank{len(shape)}")
    for approximate in (False, True):
        yield _wide(ops.Gelu(approximate), PLANE, f"{approximate}")
    for alpha in (0.0, 0.01, 0.5, 1.0, 1.5, -0.3, -2.0):
        yield _wide(ops.LeakyRelu(alpha), PLANE, f"{alpha}")
    for alpha in (0.0, 0.3, 1.0, 1.6732, -1.0):
        yield _wide(ops.Elu(alpha), PLANE, f"{alpha}")
    for alpha, beta in ((0.2, 0.5), (1 / 6, 0.5), (0.5, 0.1), (-0.2, 0.5), (0.0, 0.3), (0.2, 1.5)):
        yield _wide(ops.HardSigmoid(alpha, beta), PLANE, f"{alpha:.2f}-{beta}")
    inf = np.inf
    for low, high in ((0, 1), (0, 6), (-0.5, inf), (-inf, -0.5), (1, 3), (2, 2), (-6, 6), (3, 1)):
        yield _wide(ops.Clip(low, high), PLANE, f"{low}-{high}")
    for name in ops.Unary.functions:
        low, high = (0.3, 4) if name in _POSITIVE else (-3, 3)
        for shape in _RANKS:
            kind = TensorType(shape, DType.BOOL if name == "Not" else DType.FLOAT32)
            label = f"every-rank{len(shape)}"
            yield Sample(ops.Unary(name), (kind,), low=low, high=high, label=label)
    for dtype in _WHOLE:
        kind = TensorType((2, 3), dtype)
        yield Sample(ops.Clip(-1, 2), (kind,), label=f"every-{dtype.value}")
        for name in ("Abs", "Neg", "Sign"):
            yield Sample(ops.Unary(name), (kind,), label=f"every-{dtype.value}")


def _slopes(rng: np.random.Generator) -> Iterator[Sample]:
    shapes: tuple[tuple[Shape, Shape], ...] = (
        *((PLANE, slope) for slope in ((1, 4, 1, 1), (4, 1, 1), (7,), (6, 1), (6, 7), (1,))),
        *(((1, 4, 4, 4), (4,)), ((1, 3, 4), (4,)), ((1, 4, 4), (4,)), ((4, 4), (4,)), ((4,), (4,))),
        *(((2, 3, 4, 2, 5), (5,)), ((2, 3, 4, 2, 5), (3, 1, 1, 1))),
    )  # fmt: skip
    for shape, slope in shapes:
        label = f"every-{shape}-{slope}"
        slopes = (uniform(rng, *slope),)
        yield Sample(ops.PRelu(), (shape,), slopes, low=-6, high=8, label=label)
        yield Sample(ops.PRelu(), (shape, slope), label=f"{label}-computed")


def _casts() -> Iterator[Sample]:
    kinds = (*_NUMBERS, DType.BOOL, DType.UINT8, DType.INT8)
    for source, to in product(kinds, kinds):
        low = 0 if to is DType.UINT8 else -5
        label = f"every-{source.value}-{to.value}"
        if source is not to:
            kind = (TensorType((2, 3), source),)
            yield Sample(ops.Cast(to), kind, low=low, high=5, label=label)


def _softmaxes() -> Iterator[Sample]:
    for op, shape in product(
        (ops.Softmax, ops.LogSoftmax), ((5,), (2, 5), (2, 3, 4), (1, 2, 3, 4))
    ):
        for axis in range(len(shape)):
            yield _wide(op(axis), shape, f"rank{len(shape)}-{axis}")


def _normalizations(rng: np.random.Generator) -> Iterator[Sample]:
    shapes: tuple[Shape, ...] = ((2, 5), (2, 3, 4), (1, 2, 3, 4))
    for shape, epsilon in product(shapes, (1e-5, 0.1)):
        for axis in range(len(shape)):
            pair = (uniform(rng, *shape[axis:]), uniform(rng, *shape[axis:]))
            label = f"every-rank{len(shape)}-{axis}-{epsilon}"
            yield Sample(ops.LayerNorm(axis, epsilon), (shape,), pair, label=label)
    for shape in shapes:
        rank = len(shape)
        scale, narrow = uniform(rng, *shape[1:]), uniform(rng, shape[-1])
        yield Sample(ops.LayerNorm(1), (shape,), (scale,), label=f"every-rank{rank}-no-bias")
        yield Sample(ops.LayerNorm(1), (shape,), (narrow, narrow), label=f"every-rank{rank}-spread")
    for shape, epsilon in product(((2, 3, 7), (2, 3, 4, 5), (2, 3, 4, 2, 3)), (1e-5, 0.1)):
        pair = (uniform(rng, 3), uniform(rng, 3))
        label = f"every-rank{len(shape)}-{epsilon}"
        yield Sample(ops.InstanceNorm(epsilon), (shape,), pair, label=label)


def _reductions() -> Iterator[Sample]:
    for shape in ((5,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (1, 2, 2, 3, 4)):
        rank = len(shape)
        counts = (1, 2) if rank == 5 else range(1, rank + 1)
        chosen = [axes for count in counts for axes in combinations(range(rank), count)]
        for axes, function, keeps in product(chosen, ops.Reduce.functions, (True, False)):
            if keeps or len(axes) < rank:
                op = ops.Reduce(function, axes, keeps)
                yield Sample(op, (shape,), label=f"every-rank{rank}-{axes}-{keeps}")
        for axis, keeps, dtype in product(range(rank), (True, False), (DType.FLOAT32, DType.INT32)):
            if rank < 5 and (keeps or rank > 1):
                label = f"every-rank{rank}-{axis}-{keeps}-{dtype.value}"
                yield Sample(ops.ArgMax(axis, keeps), (TensorType(shape, dtype),), label=label)
    for function, dtype in product(ops.Reduce.functions, _WHOLE):
        kind = (TensorType((2, 3, 4), dtype),)
        yield Sample(ops.Reduce(function, (1,), False), kind, label=f"every-{dtype.value}")
