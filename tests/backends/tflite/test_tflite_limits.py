"""Limits refuse with the offending value."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, NodeView, TensorType
from qhal.ir.ops import Op
from qhal.targets.limit import Limit
from qhal_backends.tflite import limits as the
from tests.backends.one_node import lay_out


def view_of(op: Op, *operands: TensorType | tuple[int, ...] | Array) -> NodeView:
    """A node in NHWC."""
    builder = GraphBuilder("one")
    names = []
    for index, given in enumerate(operands):
        if isinstance(given, np.ndarray):
            names.append(builder.constant(f"c{index}", given))
        else:
            kind = given if isinstance(given, TensorType) else TensorType(given)
            names.append(builder.input(f"x{index}", kind))
    graph = lay_out(builder.build(outputs=builder.add(op, names, name="node"))).graph
    return NodeView(graph, next(n for n in graph.nodes if type(n.op) is type(op)))


WEIGHT = np.ones((4, 2, 3, 3), np.float32)
PLANE = (1, 4, 8, 8)

CASES: list[tuple[Limit, NodeView, str | None]] = [
    (
        the.element_types((DType.INT32,)),
        view_of(ops.Relu(), PLANE),
        "x0 is float32; allowed: int32",
    ),
    (the.rank_at_most(3), view_of(ops.Relu(), PLANE), "the rank is 4; allowed: up to 3"),
    (the.rank_between(2, 3), view_of(ops.Relu(), (2,)), "the rank of x0 is 1; allowed: 2 to 3"),
    (
        the.broadcasts_in_four,
        view_of(ops.Add(), (2, 3, 2, 3, 2), (2, 1, 2, 1, 2)),
        "operands of the shapes [(2, 3, 2, 3, 2), (2, 1, 2, 1, 2)] broadcast in 5 dimensions; "
        "allowed: up to 4",
    ),
    (the.broadcasts_in_four, view_of(ops.Add(), (2, 3, 2, 3, 2), (2, 3, 1, 1, 2)), None),
    (
        the.plane,
        view_of(ops.MaxPool((2,), (1,), (0, 0)), (1, 4, 8)),
        "it has 1 spatial dimensions; allowed: 2",
    ),
    (
        the.no_groups,
        view_of(ops.Conv((1, 1), (0,) * 4, (1, 1), 2), PLANE, WEIGHT),
        "there are 2 groups; allowed: 1",
    ),
    (
        the.no_dilation,
        view_of(
            ops.ConvTranspose((1, 1), (0,) * 4, (2, 1), (0, 0)), PLANE, np.ones((4, 2, 3, 3), "f")
        ),
        "the dilations are (2, 1); allowed: 1",
    ),
    (
        the.pads_not_negative,
        view_of(ops.Pad((0, 0, -1, 0) * 2), PLANE),
        "the pads are (0, 0, -1, 0, 0, 0, -1, 0); allowed: 0 or more",
    ),
    (
        the.padding_counts_or_is_same,
        view_of(ops.AveragePool((3, 3), (2, 2), (1, 1, 1, 1)), PLANE),
        "the pads (1, 1, 1, 1) are not counted in the mean and are not SAME",
    ),
    (
        the.padding_counts_or_is_same,
        view_of(ops.AveragePool((3, 3), (2, 2), (1, 1, 1, 1), True), PLANE),
        None,
    ),
    (
        the.windows_inside,
        view_of(ops.MaxPool((2, 2), (1, 1), (2, 0, 0, 0)), PLANE),
        "a window of size 2 lies entirely in the padding",
    ),
    (
        the.resize_is_exact,
        view_of(ops.Resize("linear", (1, 5), "pytorch_half_pixel"), PLANE),
        "TFLite has no linear resizing that equals pytorch_half_pixel from (8, 8) to (1, 5)",
    ),
    (the.resize_is_exact, view_of(ops.Resize("linear", (5, 5)), PLANE), None),
    (the.axis_is_last, view_of(ops.Softmax(3), PLANE), None),
    (the.elu_alpha_is_one, view_of(ops.Elu(0.5), PLANE), "alpha is 0.5; allowed: 1"),
    (
        the.reflects_inside,
        view_of(ops.Pad((0, 0, 8, 0) + (0,) * 4, "reflect"), PLANE),
        "axis 2 of size 8 is padded by 8; allowed: up to 7",
    ),
    (
        the.fill_is_moderate,
        view_of(ops.Pad((0, 0, 1, 0) * 2, "constant", -np.inf), PLANE),
        "the padding value is -inf; allowed: magnitudes up to 1e+06",
    ),
    (
        the.casts_between((DType.FLOAT32,)),
        view_of(ops.Cast(DType.INT16), PLANE),
        "it casts float32 to int16; allowed: float32",
    ),
]


@pytest.mark.parametrize(("limit", "view", "sentence"), CASES)
def test_limit(limit: Limit, view: NodeView, sentence: str | None) -> None:
    assert limit.check(view) == sentence
