"""Costs of nodes, and that both layouts agree on them."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.cost import macs, operations, size_bytes
from qhal.ir.dtypes import DType
from qhal.ir.graph import Graph, NodeView, TensorType
from qhal.ir.layout.laid_out import to_layout
from qhal.ir.ops import Layout
from tests.core.ir_graphs import RandomGraph


def view(op: ops.Op, *shapes: tuple[int, ...]) -> NodeView:
    b = GraphBuilder()
    x = b.input("x", TensorType(shapes[0]))
    rest = [b.constant("c", np.zeros(shape, np.float32)) for shape in shapes[1:]]
    graph = b.build(outputs=b.add(op, [x, *rest]))
    return NodeView(graph, graph.nodes[0])


ONE, NONE = (1, 1), (0, 0, 0, 0)
PRODUCTS = [
    (view(ops.Conv(ONE, NONE, ONE), (1, 3, 8, 8), (4, 3, 3, 3)), 6 * 6 * 4 * 3 * 9),
    (view(ops.Conv(ONE, NONE, ONE, 2), (1, 4, 8, 8), (4, 2, 3, 3)), 6 * 6 * 4 * 2 * 9),
    (view(ops.DepthwiseConv(ONE, NONE, ONE, 2), (1, 3, 8, 8), (6, 1, 3, 3)), 6 * 6 * 6 * 9),
    (
        view(ops.ConvTranspose((2, 2), NONE, ONE, (0, 0)), (1, 3, 4, 4), (3, 5, 2, 2)),
        4 * 4 * 3 * 5 * 4,
    ),
    (view(ops.FullyConnected(), (2, 7, 5), (3, 5)), 2 * 7 * 5 * 3),
    (view(ops.MatMul(), (2, 4, 5), (5, 6)), 2 * 4 * 5 * 6),
    (view(ops.Lstm(3), (7, 2, 5), (1, 12, 5), (1, 12, 3)), 7 * 2 * 12 * 8),
    (view(ops.Relu(), (5,)), 0),
]


@pytest.mark.parametrize(
    ("node", "count"), PRODUCTS, ids=lambda v: getattr(getattr(v, "op", ""), "kind", "")
)
def test_macs(node: NodeView, count: int) -> None:
    assert macs(node) == count
    assert operations(node) == (2 * count or 5)


@pytest.mark.parametrize(
    ("shape", "dtype", "size"),
    [((3, 5), DType.FLOAT32, 60), ((3, 5), DType.INT4, 8), ((), DType.INT8, 1)],
)
def test_bytes(shape: tuple[int, ...], dtype: DType, size: int) -> None:
    assert size_bytes(TensorType(shape, dtype)) == size


def _total(graph: Graph) -> tuple[int, int]:
    views = [NodeView(graph, node) for node in graph.nodes]
    return sum(map(macs, views)), sum(
        operations(v) for v in views if not isinstance(v.op, ops.Resize)
    )


@pytest.mark.parametrize("seed", range(25))
def test_layouts_cost_the_same(seed: int) -> None:
    graph = RandomGraph(Random(seed)).grow(8)
    assert _total(graph) == _total(to_layout(graph, Layout.NHWC).graph)
