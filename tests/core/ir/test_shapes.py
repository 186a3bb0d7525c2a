"""Shape inference, rule by rule."""

from __future__ import annotations

import pytest

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import TensorType
from qhal.ir.ops import Layout
from qhal.ir.shapes import infer

Shape = tuple[int, ...]
NHWC = Layout.NHWC
ONE = (1, 1)
NONE = (0, 0, 0, 0)

GOOD: list[tuple[ops.Op, list[Shape | None], list[Shape]]] = [
    (ops.Conv((2, 2), (1, 1, 1, 1), ONE), [(1, 3, 9, 8), (8, 3, 3, 3), (8,)], [(1, 8, 5, 4)]),
    (ops.Conv(ONE, NONE, (2, 3), 2), [(1, 4, 9, 9), (6, 2, 3, 3)], [(1, 6, 5, 3)]),
    (
        ops.Conv(ONE, NONE, ONE, 2, layout=NHWC),
        [(1, 9, 9, 4), (6, 3, 3, 2), None],
        [(1, 7, 7, 6)],
    ),
    (ops.Conv((2,), (0, 1), (1,)), [(2, 3, 8), (5, 3, 3)], [(2, 5, 4)]),
    (ops.DepthwiseConv(ONE, NONE, ONE, 2), [(1, 3, 5, 5), (6, 1, 2, 2)], [(1, 6, 4, 4)]),
    (
        ops.DepthwiseConv(ONE, NONE, ONE, 2, layout=NHWC),
        [(1, 5, 5, 3), (1, 2, 2, 6)],
        [(1, 4, 4, 6)],
    ),
    (
        ops.ConvTranspose((2, 2), (1, 1, 0, 0), ONE, (1, 0)),
        [(1, 4, 5, 5), (4, 6, 3, 3)],
        [(1, 6, 11, 10)],
    ),
    (
        ops.ConvTranspose((2, 2), NONE, ONE, (0, 0), layout=NHWC),
        [(1, 5, 5, 4), (6, 2, 2, 4), (6,)],
        [(1, 10, 10, 6)],
    ),
    (ops.FullyConnected(), [(2, 7, 4), (5, 4), (5,)], [(2, 7, 5)]),
    (ops.MatMul(), [(1, 3, 4, 5), (2, 1, 5, 6)], [(2, 3, 4, 6)]),
    (ops.MatMul(), [(5,), (2, 5, 6)], [(2, 6)]),
    (ops.MatMul(), [(3, 5), (5,)], [(3,)]),
    (
        ops.Lstm(3, "bidirectional"),
        [(7, 2, 5), (2, 12, 5), (2, 12, 3), (2, 24)],
        [(7, 2, 2, 3), (2, 2, 3), (2, 2, 3)],
    ),
    (ops.Gru(3), [(7, 2, 5), (1, 9, 5), (1, 9, 3), None, (1, 2, 3)], [(7, 1, 2, 3), (1, 2, 3)]),
    (ops.Add(), [(1, 3, 4, 4), (3, 1, 1)], [(1, 3, 4, 4)]),
    (ops.PRelu(), [(1, 3, 4, 4), (3, 1, 1)], [(1, 3, 4, 4)]),
    (ops.Softmax(1), [(2, 3)], [(2, 3)]),
    (ops.LayerNorm(1), [(2, 3, 4), (3, 4), (3, 4)], [(2, 3, 4)]),
    (ops.InstanceNorm(), [(2, 3, 4, 4), (3,), (3,)], [(2, 3, 4, 4)]),
    (ops.Reduce("Mean", (2, 3)), [(2, 3, 4, 5)], [(2, 3, 1, 1)]),
    (ops.Reduce("Max", (0, 2), False), [(2, 3, 4)], [(3,)]),
    (ops.MaxPool((3, 3), (2, 2), (0, 0, 1, 1)), [(1, 2, 6, 6)], [(1, 2, 3, 3)]),
    (ops.AveragePool((3, 3), (2, 2), NONE, layout=NHWC), [(1, 7, 7, 2)], [(1, 3, 3, 2)]),
    (ops.Resize("linear", (9, 8)), [(1, 2, 3, 4)], [(1, 2, 9, 8)]),
    (ops.DepthToSpace(2, "CRD"), [(1, 8, 3, 4)], [(1, 2, 6, 8)]),
    (ops.SpaceToDepth(2, NHWC), [(1, 4, 6, 3)], [(1, 2, 3, 12)]),
    (ops.Reshape((6, 4)), [(2, 3, 4)], [(6, 4)]),
    (ops.Transpose((2, 0, 1)), [(2, 3, 4)], [(4, 2, 3)]),
    (ops.Concat(1), [(2, 3), (2, 4)], [(2, 7)]),
    (ops.Split(0, (1, 4)), [(5, 2)], [(1, 2), (4, 2)]),
    (ops.Slice((4, 0), (2, 2), (-2, 1)), [(5, 2)], [(2, 2)]),
    (ops.Pad((1, 0, 0, 2)), [(2, 3)], [(3, 5)]),
    (ops.Gather(1), [(2, 3, 4), (5, 6)], [(2, 5, 6, 4)]),
    (ops.Expand((2, 3, 4)), [(3, 1)], [(2, 3, 4)]),
    (ops.Tile((2, 3)), [(2, 3)], [(4, 9)]),
]


def types(shapes: list[Shape | None]) -> list[TensorType | None]:
    return [None if shape is None else TensorType(shape) for shape in shapes]


@pytest.mark.parametrize(("op", "operands", "results"), GOOD, ids=lambda v: getattr(v, "kind", ""))
def test_shapes(op: ops.Op, operands: list[Shape | None], results: list[Shape]) -> None:
    assert [t.shape for t in infer(op, types(operands))] == results


BAD: list[tuple[ops.Op, list[Shape | None], str]] = [
    (
        ops.Conv(ONE, NONE, ONE),
        [(1, 3, 8, 8), (8, 4, 3, 3)],
        r"has shape \(8, 4, 3, 3\)",
    ),
    (ops.Conv(ONE, NONE, ONE), [(1, 3, 2, 2), (8, 3, 3, 3)], r"spatial shape \(0, 0\)"),
    (ops.Conv(ONE, NONE, ONE), [(1, 3, 8, 8), (8, 3, 3, 3), (7,)], r"the bias has shape \(7,\)"),
    (ops.Conv((1,), NONE, ONE), [(1, 3, 8, 8), (8, 3, 3, 3)], r"strides \(1,\) has 1 entries"),
    (ops.Conv(ONE, NONE, ONE), [(3, 8), (8, 3, 3, 3)], "at least rank 3"),
    (ops.Conv(ONE, NONE, ONE), [(1, 3, 8, 8)], "weight 1 is absent"),
    (ops.FullyConnected(), [(2, 3), (4, 5)], "does not fit the operand"),
    (ops.MatMul(), [(2, 3), (4, 5)], "different inner dimensions"),
    (ops.Reshape((-2, -3)), [(2, 3)], r"cannot have the shape \(-2, -3\)"),
    (ops.Tile((1, -4)), [(2, 3)], r"its result would have the shape \(2, -12\)"),
    (ops.Lstm(3), [(7, 2, 5), (1, 9, 5), (1, 12, 3)], r"expected \(1, 12, 5\)"),
    (ops.Add(), [(2, 3), (4,)], "do not broadcast"),
    (ops.PRelu(), [(3,), (2, 3)], "does not broadcast to"),
    (ops.Softmax(2), [(2, 3)], "axis 2 is outside of rank 2"),
    (ops.DepthToSpace(2), [(1, 6, 2, 2)], "6 channels cannot be divided into blocks of 4"),
    (ops.SpaceToDepth(2), [(1, 6, 3, 2)], "cannot be divided into blocks of 2"),
    (ops.Reshape((5,)), [(2, 3)], r"cannot have the shape \(5,\)"),
    (ops.Transpose((0, 0)), [(2, 3)], "is not a permutation"),
    (ops.Concat(0), [(2, 3), (2, 4)], "cannot be joined"),
    (ops.Split(0, (1, 1)), [(3,)], "do not add up"),
    (ops.Slice((2,), (2,), (1,)), [(3,)], "in strides of 1 goes beyond"),
    (ops.Expand((2, 3)), [(4,)], "do not broadcast"),
    (ops.Opaque("", "Foo", 13, b"", ""), [(1,)], "Foo cannot be inferred"),
]


@pytest.mark.parametrize(("op", "operands", "message"), BAD, ids=lambda v: getattr(v, "kind", ""))
def test_misfits_are_explained(op: ops.Op, operands: list[Shape | None], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        infer(op, types(operands))


def test_element_types() -> None:
    x, half = TensorType((2,)), TensorType((2,), DType.FLOAT16)
    assert infer(ops.Compare("<"), [x, x])[0].dtype is DType.BOOL
    assert infer(ops.ArgMax(0), [x])[0].dtype is DType.INT64
    assert infer(ops.Cast(DType.INT32), [x])[0].dtype is DType.INT32
    assert infer(ops.Add(), [x, half])[0].dtype is DType.FLOAT32
    with pytest.raises(ValueError, match="different element types"):
        infer(ops.Add(), [x, TensorType((2,), DType.INT64)])
    with pytest.raises(ValueError, match="expected bool"):
        infer(ops.Where(), [x, x, x])
