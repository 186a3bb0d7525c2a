"""Samples of normalizations and reductions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import TensorType
from qhal.testing.samples.sample import PLANE, Sample, uniform


def reductions(rng: np.random.Generator) -> Iterator[Sample]:
    """Yield softmax, reductions over several axes, and normalizations."""
    for op in (ops.Softmax, ops.LogSoftmax):
        yield Sample(op(1), ((2, 10),), low=-4, high=4)
        yield Sample(op(1), ((1, 5, 3, 4),), label="channels", low=-4, high=4)
        yield Sample(op(1), ((2, 6, 5),), label="middle", low=-4, high=4)
        yield Sample(op(3), ((1, 2, 3, 7),), label="last", low=-4, high=4)
        yield Sample(op(0), ((9,),), label="rank1", low=-4, high=4)
        yield Sample(op(1), ((2, 6, 1, 1),), label="points", low=-4, high=4)
    for shape in ((2, 3, 4, 5), (2, 3, 4, 5, 6)):
        yield Sample(ops.Softmax(len(shape) - 1), (shape,), label=f"rank{len(shape)}")
    for function in ("Mean", "Sum", "Max", "Min", "Prod"):
        yield Sample(ops.Reduce(function, (2, 3), True), (PLANE,))
        yield Sample(ops.Reduce(function, (2, 3), False), (PLANE,), label="drop")
        yield Sample(ops.Reduce(function, (1,), False), (PLANE,), label="channels")
        yield Sample(ops.Reduce(function, (2,), True), ((2, 3, 5),), label="rank3")
        yield Sample(ops.Reduce(function, (1, 3), True), ((2, 3, 4, 5, 2),), label="rank5")
    for kind in (DType.FLOAT32, DType.INT32):
        yield Sample(ops.ArgMax(1), (TensorType((2, 9, 3), kind),), label=kind.value)
    yield Sample(ops.ArgMax(1, False), ((2, 9),), label="drop")
    yield Sample(ops.TopK(1, 3), ((2, 9),))
    yield Sample(ops.TopK(1, 2), ((1, 5, 3, 4),), label="channels")
    yield Sample(ops.TopK(0, 4), ((4,),), label="all")
    scale, shift = (uniform(rng, 8), uniform(rng, 8))
    yield Sample(ops.LayerNorm(2), ((1, 5, 8),), (scale, shift))
    yield Sample(ops.LayerNorm(1), ((2, 8),), (scale,), label="no-bias")
    yield Sample(ops.InstanceNorm(), ((1, 8, 5, 6),), (scale, shift))
