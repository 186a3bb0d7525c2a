"""Samples of operators that move elements with every attribute."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import numpy as np

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import TensorType
from qhal.testing.samples.sample import PLANE, Sample, Shape


def moves() -> Iterator[Sample]:
    """Yield movement along each axis of each rank, and what moves nothing or nearly all."""
    yield Sample(ops.Reshape((24,)), ((2, 3, 4),), label="every-flat")
    yield Sample(ops.Reshape((2, 1, 3, 1, 4, 1)), ((2, 3, 4),), label="every-rank6")
    for rank in (3, 4):
        for perm in permutations(range(rank)):
            yield Sample(ops.Transpose(perm), ((2, 3, 4, 5)[:rank],), label=f"every-{perm}")
    for rank in range(1, 6):
        shape: Shape = (2, 3, 2, 3, 2)[:rank]
        yield from _whole(shape)
        for axis in range(rank):
            yield from _along(shape, axis)
    yield Sample(ops.Concat(0), ((3,),), label="every-single")
    yield Sample(ops.Split(0, (3,)), ((3,),), label="every-single")
    yield Sample(ops.Split(1, (2, 0, 4)), ((1, 6, 4, 4),), label="every-empty")
    yield Sample(ops.Split(0, (0, 3)), ((3,),), label="every-empty-first")
    yield Sample(ops.Expand((2, 3)), ((2, 3),), label="every-same")
    yield Sample(ops.Pad((0, 0, 2, 2, 0, 0, 0, 1)), (PLANE,), label="every-mixed")


def _along(shape: Shape, axis: int) -> Iterator[Sample]:
    """Yield what joins, cuts and picks along one axis."""
    label, size = f"every-rank{len(shape)}-{axis}", shape[axis]
    yield Sample(ops.Concat(axis), (shape,) * 3, label=label)
    yield Sample(ops.Split(axis, (1, size - 1)), (shape,), label=label)
    yield Sample(ops.Split(axis, (1,) * size), (shape,), label=f"{label}-ones")
    for name, indices in (("few", [1, 0, -1]), ("single", -1), ("plane", [[0, 1], [1, -2]])):
        picked = (np.asarray(indices, np.int64),)
        yield Sample(ops.Gather(axis), (shape,), picked, label=f"{label}-{name}")
    for kind in (DType.INT32, DType.INT64):
        inputs = (shape, TensorType((2,), kind))
        yield Sample(ops.Gather(axis), inputs, label=f"{label}-{kind.value}")


def _whole(shape: Shape) -> Iterator[Sample]:
    """Yield what repeats, frames and steps in all dimensions."""
    rank = len(shape)
    label = f"every-rank{rank}"
    yield Sample(ops.Tile((2, 1, 3, 1, 2)[:rank]), (shape,), label=label)
    yield Sample(ops.Expand((2,) * rank), ((1,) * rank,), label=label)
    for mode in ("constant", "reflect", "edge"):
        yield Sample(ops.Pad((1,) * 2 * rank, mode), (shape,), label=f"{label}-{mode}")
        end = (0,) * rank + (1,) * rank
        yield Sample(ops.Pad(end, mode), (shape,), label=f"{label}-{mode}-end")
    yield Sample(ops.Pad((1,) * 2 * rank, "constant", 3.5), (shape,), label=f"{label}-value")
    back = ops.Slice((shape[0] - 1, *(0,) * (rank - 1)), shape, (-1, *(1,) * (rank - 1)))
    yield Sample(back, (shape,), label=f"{label}-back")
    yield Sample(ops.Slice((0,) * rank, (1,) * rank, (2,) * rank), (shape,), label=f"{label}-steps")
