"""Limits of ONNX Runtime's integer kernels refuse with the offending value."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import NodeView, TensorType
from qhal.ir.ops import Op
from qhal.targets.limit import Limit
from qhal_backends.cpu import limits as the

PLANE = (1, 4, 8, 8)


def view_of(op: Op, *shapes: tuple[int, ...]) -> NodeView:
    """A node in NCHW; operands after the first are constants."""
    builder = GraphBuilder("one")
    x = builder.input("x", TensorType(shapes[0]))
    more = [builder.constant(f"c{i}", np.ones(s, np.float32)) for i, s in enumerate(shapes[1:])]
    graph = builder.build(outputs=[builder.one(op, (x, *more), name="node")])
    return NodeView(graph, graph.nodes[0])


def chain() -> NodeView:
    builder = GraphBuilder("two")
    x = builder.input("x", TensorType(PLANE))
    first = builder.one(ops.Concat(1), (x, x), name="first")
    graph = builder.build(outputs=[builder.one(ops.Concat(1), (first, x), name="second")])
    return NodeView(graph, graph.nodes[1])


CASES: list[tuple[Limit, NodeView, str | None]] = [
    (the.not_chained, chain(), "operand first is the result of another Concat, first"),
    (the.spatial_mean, view_of(ops.Reduce("Mean", (2, 3)), PLANE), None),
    (
        the.spatial_mean,
        view_of(ops.Reduce("Mean", (1, 2)), PLANE),
        "it reduces the axes (1, 2) of 4 dimensions; allowed: all axes from 2 on, "
        "with 3 or more dimensions",
    ),
    (
        the.spatial_mean,
        view_of(ops.Reduce("Mean", (1,)), (1, 4)),
        "it reduces the axes (1,) of 2 dimensions; allowed: all axes from 2 on, "
        "with 3 or more dimensions",
    ),
    (the.nearest, view_of(ops.Resize("nearest", (4, 4)), PLANE), None),
    (
        the.nearest,
        view_of(ops.Resize("linear", (4, 4)), PLANE),
        "the mode is linear; allowed: nearest",
    ),
    (the.rising_sigmoid, view_of(ops.HardSigmoid(0.2, 0.5), PLANE), None),
    (
        the.rising_sigmoid,
        view_of(ops.HardSigmoid(0.2, 0.0), PLANE),
        "alpha is 0.2 and beta is 0; allowed: above 0 and above 0",
    ),
    (the.wide_for_bytes, view_of(ops.FullyConnected(), (1, 256), (3, 256)), None),
    (
        the.wide_for_bytes,
        view_of(ops.FullyConnected(), (1, 255), (3, 255)),
        "an output has 255 weights; allowed: 256 or more",
    ),
    (
        the.wide_for_nibbles,
        view_of(ops.FullyConnected(), (1, 31), (3, 31)),
        "an output has 31 weights; allowed: 32 or more",
    ),
]


@pytest.mark.parametrize(("limit", "view", "sentence"), CASES)
def test_limit(limit: Limit, view: NodeView, sentence: str | None) -> None:
    assert limit.check(view) == sentence
