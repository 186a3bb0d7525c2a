"""Cases of operators that move, pick and repeat elements, and of reductions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from tests.operators.cases.case import Case, Fed, Operand, Shape, f32, floats, i64, scalar

_PLANE = (2, 3, 4, 5)
_REDUCTIONS = (
    *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"),
    *("ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"),
)


def movement() -> Iterator[Case]:
    """Yield the cases."""
    yield from _reductions()
    yield from _shapes()
    yield from _cuts()
    yield from _picks()
    yield from _scatters()
    yield from _fills()


def _reductions() -> Iterator[Case]:
    given: dict[str, Any]
    for name, axes, keeps in product(_REDUCTIONS, ([1], [-1], [2, 3], [0, -2], None), (0, 1)):
        low = 0.4 if name in {"ReduceLogSum", "ReduceProd"} else -2.0
        change = 13 if name == "ReduceSum" else 18
        given = {} if axes is None else {"axes": axes}
        yield Case(name, (_PLANE,), {**given, "keepdims": keeps}, 7, change - 1, low=low)
        operands: tuple[Operand, ...] = (_PLANE,) if axes is None else (_PLANE, i64(*axes))
        yield Case(name, operands, {"keepdims": keeps}, change, low=low)
    for name in ("ReduceMean", "ReduceSum"):
        since = 13 if name == "ReduceSum" else 18
        yield Case(name, (_PLANE, i64()), {"noop_with_empty_axes": 1}, since)
        yield Case(name, (_PLANE,), {"noop_with_empty_axes": 1}, since)
        yield Case(name, (_PLANE, i64()), {"noop_with_empty_axes": 0}, since)
    for name, (axis, keeps, last) in product(
        ("ArgMax", "ArgMin"), product((0, 1, 3, -1, -2), (0, 1), (0, 1))
    ):
        given = {"axis": axis, "keepdims": keeps, "select_last_index": last}
        yield Case(name, (_PLANE,), given, since=12)
    ties = Fed(f32(1, 3, 3, 2, 0, 0, 3, 3, 1).reshape(3, 3))
    for name, last in product(("ArgMax", "ArgMin"), (0, 1)):
        yield Case(name, (ties,), {"axis": 1, "select_last_index": last}, since=12, label="ties")
    for name in ("ArgMax", "ArgMin"):
        yield Case(name, (_PLANE,), {}, since=7, until=10)
    for axis, exclusive, reverse in product((0, 1, -1), (0, 1), (0, 1)):
        given = {"exclusive": exclusive, "reverse": reverse}
        yield Case("CumSum", ((3, 4), scalar(axis, np.int64)), given, since=11)
    for axis, largest, sort in product((-1, 0, 1), (0, 1), (0, 1)):
        given = {"axis": axis, "largest": largest, "sorted": sort}
        if sort:
            yield Case("TopK", ((4, 5), i64(3)), given, since=11, results=("y", "i"))
            yield Case("TopK", ((4, 5), i64(3)), given, since=11)
    yield Case("TopK", ((4, 5), i64(2)), {"axis": 1}, since=10, until=10, results=("y", "i"))
    yield Case("TopK", ((4, 5),), {"axis": 1, "k": 2}, since=7, until=9, results=("y", "i"))


def _shapes() -> Iterator[Case]:
    for target in ((6, 20), (-1, 4), (0, -1), (2, 0, 20), (1, 1, 120), (0, 0, -1)):
        yield Case("Reshape", (_PLANE, i64(*target)), since=7)
    yield Case("Reshape", ((2, 3), i64(3, -1)), {"allowzero": 1}, since=14)
    for axis in (0, 1, 2, 4, -1, -3):
        yield Case("Flatten", (_PLANE,), {"axis": axis}, since=7 if axis >= 0 else 11)
    for axes in ([0], [2], [0, 2], [-1], [-1, 0]):
        positive = min(axes) >= 0
        yield Case("Squeeze", ((1, 3, 1, 1), i64(*axes)), since=13)
        yield Case("Unsqueeze", ((3, 4), i64(*axes)), since=13)
        yield Case("Squeeze", ((1, 3, 1, 1),), {"axes": axes}, 7 if positive else 11, 12)
        yield Case("Unsqueeze", ((3, 4),), {"axes": axes}, 7 if positive else 11, 12)
    yield Case("Squeeze", ((1, 3, 1, 4),), since=7)
    for perm in (None, [3, 2, 1, 0], [0, 2, 3, 1], [1, 0, 2, 3]):
        yield Case("Transpose", (_PLANE,), {} if perm is None else {"perm": perm}, since=7)
    for shape in ((2, 3, 4), (3, 1), (2, 3, 1), (1,), (2, 1, 4)):
        yield Case("Expand", ((3, 1), i64(*shape)), since=8)
    for repeats in ((1, 2, 3), (2, 1, 1)):
        yield Case("Tile", ((2, 3, 2), i64(*repeats)), since=7)
    for given in ({}, {"start": 1}, {"start": -2}, {"start": 1, "end": 3}, {"end": -1}):
        yield Case("Shape", (_PLANE,), given, since=15 if given else 7)
    yield Case("Size", (_PLANE,), since=7)


def _cuts() -> Iterator[Case]:
    starts: tuple[tuple[Operand, ...], ...] = (
        (i64(1), i64(3), i64(2)),
        (i64(0, 1), i64(2, 4), i64(0, 3), i64(1, 2)),
        (i64(-3), i64(-1), i64(-2)),
        (i64(3), i64(0), i64(2), i64(-1)),
        (i64(4), i64(-99), i64(3), i64(-2)),
        (i64(-1), i64(-(2**63)), i64(1), i64(-1)),
        (i64(1), i64(2**63 - 1), i64(3)),
        (i64(0, 0, 1, 1), i64(2, 3, 4, 5)),
    )
    for bounds in starts:
        yield Case("Slice", (_PLANE, *bounds), since=10)
    yield Case("Slice", (_PLANE,), {"starts": [1, -4], "ends": [3, -1], "axes": [2, 3]}, 7, 9)
    yield Case("Slice", (_PLANE,), {"starts": [0, 1], "ends": [1, 99]}, 7, 9)
    shape = (2, 6, 4)
    for axis in (1, -2):
        yield Case("Split", (shape, i64(1, 2, 3)), {"axis": axis}, 13, results=("a", "b", "c"))
        yield Case("Split", (shape,), {"axis": axis}, 13, 17, results=("a", "b", "c"))
        yield Case("Split", (shape,), {"axis": axis, "num_outputs": 3}, 18, results=("a", "b", "c"))
    given = {"axis": 1, "num_outputs": 4}
    yield Case("Split", ((2, 7, 4),), given, 18, results=("a", "b", "c", "d"), label="uneven")
    old = {"axis": 1, "split": [2, 4]}
    yield Case("Split", (shape,), old, 7, 12, results=("a", "b"))
    yield Case("Split", (shape, i64(0, 6)), {"axis": 1}, 13, results=("a", "b"), label="empty")
    for axis in (0, 1, 2, -1, -3):
        yield Case(
            "Concat", ((2, 3, 4), (2, 3, 4), (2, 3, 4)), {"axis": axis}, 7 if axis >= 0 else 11
        )
    modes = ("constant", "reflect", "edge", "wrap")
    for mode, pads in product(modes, ((0, 0, 1, 1, 0, 0, 2, 1), (0, 1, 0, 2, 0, 1, 0, 0))):
        since = 19 if mode == "wrap" else 11
        yield Case("Pad", (_PLANE, i64(*pads)), {"mode": mode}, since)
        if mode != "wrap":
            yield Case("Pad", (_PLANE,), {"mode": mode, "pads": list(pads)}, 7, 10)
    yield Case("Pad", (_PLANE, i64(0, 0, 1, 1, 0, 0, 2, 1), scalar(1.5)), since=11)
    yield Case("Pad", (_PLANE, i64(0, 0, -1, 1, 0, 0, -1, 0)), since=11, label="crop")
    yield Case("Pad", (_PLANE, i64(0, 0, -1, 1, 0, 0, 1, 0)), {"mode": "reflect"}, 11, label="crop")
    yield Case("Pad", (_PLANE, i64(0, 0, -1, 1, 0, 0, 1, 0)), {"mode": "edge"}, 11, label="crop")
    yield Case("Pad", (_PLANE, i64(1, 2, 1, 0), None, i64(-1, 1)), since=18)
    yield Case("Pad", (_PLANE, i64(3, 3), None, i64(-1)), {"mode": "wrap"}, since=19)
    yield Case("CenterCropPad", (_PLANE, i64(2, 7)), {"axes": [2, 3]}, since=18)


def _picks() -> Iterator[Case]:
    indices = (i64(0, 1), i64(-1, 0), scalar(1, np.int64), np.array([[0, -1], [1, 0]], np.int64))
    for axis, picked in product((0, 1, 3, -1), indices):
        yield Case("Gather", (_PLANE, picked), {"axis": axis}, since=7 if picked.min() >= 0 else 11)
        yield Case("Gather", (_PLANE, Fed(picked)), {"axis": axis}, 7 if picked.min() >= 0 else 11)
    yield Case(
        "Gather", (floats(6, 4), Fed(np.array([[0, 5, 2]], np.int64))), since=7, label="table"
    )
    for axis in (0, 1, -1):
        wanted = np.array([[0, 1, 0], [1, 0, -1]], np.int64)
        yield Case("GatherElements", ((2, 3), wanted), {"axis": axis}, since=11)
        yield Case("GatherElements", ((2, 3), Fed(wanted)), {"axis": axis}, since=11)
    for index, batch in (
        ([[0, 1], [1, 0]], 0), ([[0], [-1]], 0), ([[[0, 1]], [[1, 0]]], 0), ([[1], [0]], 1),
    ):  # fmt: skip
        operands = ((2, 3, 4), np.array(index, np.int64))
        yield Case("GatherND", operands, {"batch_dims": batch}, since=12)
        fed = ((2, 3, 4), Fed(np.array(index, np.int64)))
        yield Case("GatherND", fed, {"batch_dims": batch}, since=12)
    flags = np.array([True, False, True])
    yield Case("Compress", ((3, 3), flags), since=9)
    for axis in (0, 1, -1):
        yield Case("Compress", ((3, 3), flags), {"axis": axis}, since=9 if axis >= 0 else 11)
    for given in ({}, {"batch_axis": 1, "time_axis": 0}, {"batch_axis": 0, "time_axis": 1}):
        shape = (4, 3, 2) if given.get("batch_axis", 1) else (3, 4, 2)
        yield Case("ReverseSequence", (shape, i64(2, 4, 1)), given, since=10)
    for upper, k in product((0, 1), (None, 0, 1, -1, 5)):
        operands = ((2, 4, 5), *(() if k is None else (scalar(k, np.int64),)))
        yield Case("Trilu", operands, {"upper": upper}, since=14)
    yield Case("Trilu", ((4, 4),), {}, since=14)


def _scatters() -> Iterator[Case]:
    given: dict[str, Any]
    rows = np.array([[0, 1, 0], [1, 0, 1]], np.int64)
    for axis, reduction in product((0, 1, -1), ("none", "add", "mul", "max", "min")):
        since = {"none": 11, "add": 16, "mul": 16}.get(reduction, 18)
        index = np.array([[0, 1, 2], [2, 0, 1]], np.int64) if axis else rows
        given = {"axis": axis} if since == 11 else {"axis": axis, "reduction": reduction}
        yield Case("ScatterElements", ((3, 3), index, (2, 3)), given, since)
        yield Case("ScatterElements", ((3, 3), Fed(index), floats(2, 3)), given, since)
    yield Case("ScatterElements", ((3, 3), i64(-1, 0).reshape(1, 2), (1, 2)), {"axis": 1}, 11)
    yield Case("Scatter", ((3, 3), rows, (2, 3)), {"axis": 0}, 9, 10)
    for reduction in ("none", "add", "mul", "max", "min"):
        since = {"none": 11, "add": 16, "mul": 16}.get(reduction, 18)
        given = {} if since == 11 else {"reduction": reduction}
        yield Case("ScatterND", ((4, 3), i64(1, 3).reshape(2, 1), (2, 3)), given, since)
        yield Case("ScatterND", ((4, 3), Fed(i64(1, -4).reshape(2, 1)), (2, 3)), given, since)
        yield Case("ScatterND", ((4, 3), i64(1, 0, 2, 2).reshape(2, 2), (2,)), given, since)


def _fills() -> Iterator[Case]:
    for axis in (0, 1, -1, -2):
        operands = (Fed(i64(1, 0, 3)), scalar(4, np.int64), f32(-1, 2))
        yield Case("OneHot", operands, {"axis": axis}, since=9 if axis >= 0 else 11)
    negative = (Fed(i64(-1, 0, 2)), scalar(4, np.int64), f32(0, 1))
    yield Case("OneHot", negative, {}, since=11, label="negative")
    yield Case("OneHot", (Fed(i64(1, 7)), scalar(4, np.int64), f32(0, 1)), {}, 11, label="outside")
    for k, dtype in product((0, 1, -1), (1, 7)):
        yield Case("EyeLike", ((3, 4),), {"k": k, "dtype": dtype}, since=9)
    shapes: tuple[Shape, ...] = ((3, 3), (2, 3, 3))
    for shape in shapes:
        yield Case("Det", (shape,), {}, since=11)
