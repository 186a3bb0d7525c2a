"""Samples of operators that move elements without computing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import TensorType
from qhal.testing.samples.sample import PLANE, Sample, uniform


def movement(rng: np.random.Generator) -> Iterator[Sample]:
    """Yield reshapes, transposes, slices, pads and the like, up to rank 6 and in all types."""
    yield Sample(ops.Reshape((4, 6)), ((2, 3, 4),))
    yield Sample(ops.Reshape((1, 2, 2, 2, 3)), ((2, 3, 4),), label="rank5")
    for rank in range(2, 7):
        shape = tuple(range(2, 2 + rank))
        perm = (*range(1, rank), 0)
        yield Sample(ops.Transpose(perm), (shape,), label=f"rank{rank}")
    for kind in (DType.INT32, DType.INT64, DType.BOOL):
        one = TensorType((2, 3, 4), kind)
        yield Sample(ops.Reshape((4, 6)), (one,), label=kind.value)
        yield Sample(ops.Transpose((2, 0, 1)), (one,), label=kind.value)
        yield Sample(ops.Concat(1), (one, one), label=kind.value)
        yield Sample(ops.Slice((0, 1, 0), (2, 2, 4), (1, 1, 1)), (one,), label=kind.value)
        yield Sample(
            ops.Slice((0, 0, 3), (2, 3, 2), (1, 1, -2)), (one,), label=f"step-{kind.value}"
        )
        yield Sample(ops.Expand((2, 2, 3, 4)), (one,), label=kind.value)
        yield Sample(ops.Tile((1, 2, 1)), (one,), label=kind.value)
        yield Sample(ops.Gather(1), (one,), (np.asarray([2, 0]),), label=kind.value)
    for kind in (DType.INT32, DType.INT64):
        one = TensorType((2, 3, 4), kind)
        yield Sample(ops.Split(2, (2, 2)), (one,), label=kind.value)
        yield Sample(ops.Split(2, (1, 3)), (one,), label=f"uneven-{kind.value}")
        yield Sample(ops.Pad((0, 0, 1, 0, 0, 1)), (one,), label=kind.value)
        yield Sample(ops.Pad((0, 0, 1, 0, 0, 1), "reflect"), (one,), label=f"reflect-{kind.value}")
    yield Sample(ops.Concat(1), (PLANE, (1, 2, 6, 7)))
    yield Sample(ops.Concat(0), ((2, 2, 3, 4, 5), (1, 2, 3, 4, 5)), label="rank5")
    yield Sample(ops.Concat(1), ((2, 3),), (uniform(rng, 2, 2),), label="constant")
    yield Sample(ops.Split(1, (2, 2)), (PLANE,))
    yield Sample(ops.Split(1, (1, 3)), (PLANE,), label="uneven")
    yield Sample(ops.Slice((0, 1, 2, 0), (1, 2, 3, 7), (1, 1, 1, 1)), (PLANE,))
    yield Sample(ops.Slice((0, 0, 1, 6), (1, 4, 3, 4), (1, 1, 2, -2)), (PLANE,), label="steps")
    yield Sample(ops.Slice((0, 3, 0, 0), (1, 4, 6, 7), (1, -1, 1, 1)), (PLANE,), label="reverse")
    yield Sample(ops.Slice((0, 1, 0, 0), (1, 2, 3, 7), (1, 2, 2, 1)), (PLANE,), label="plane")
    full = Sample(ops.Slice((0,) * 5, (1, 2, 2, 3, 2), (1,) * 5), ((1, 2, 3, 4, 2),), label="rank5")
    yield full
    strided = ops.Slice((0,) * 5, (1, 2, 2, 2, 2), (1, 1, 1, 2, 1))
    yield replace(full, op=strided, label="rank5-steps")
    around = (0, 0, 1, 2, 0, 0, 2, 1)
    yield Sample(ops.Pad(around), (PLANE,))
    yield Sample(ops.Pad(around, "constant", -1.5), (PLANE,), label="value")
    yield Sample(ops.Pad(around, "reflect"), (PLANE,), label="reflect")
    yield Sample(ops.Pad(around, "edge"), (PLANE,), label="edge")
    yield Sample(ops.Pad((0, 1, 0, 1)), ((3, 4),), label="rank2")
    yield Sample(ops.Pad((0, 1, 0, 0, 2) * 2), ((2, 3, 4, 2, 2),), label="rank5")
    yield Sample(
        ops.Pad((0, 1, 0, 0, 2) * 2, "constant", 1.0), ((2, 3, 4, 2, 2),), label="rank5-value"
    )
    yield Sample(ops.Gather(1), (PLANE,), (np.asarray([[0, 3], [-1, 1]]),))
    yield Sample(ops.Gather(1), (PLANE,), (np.asarray(-2),), label="scalar")
    yield Sample(
        ops.Gather(0),
        (TensorType((3,), DType.INT64),),
        first=(uniform(rng, 5, 4),),
        label="embedding",
    )
    yield Sample(ops.Expand((2, 4, 6, 7)), ((1, 4, 1, 7),))
    yield Sample(ops.Expand((2, 3, 4, 2, 3)), ((4, 1, 3),), label="rank5")
    yield Sample(ops.Tile((1, 2, 1, 3)), (PLANE,))
    yield Sample(ops.Tile((2, 1, 1, 1, 2)), ((1, 2, 3, 4, 2),), label="rank5")
