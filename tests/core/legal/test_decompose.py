"""What a target lacks is written with what it has, or left alone."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import pytest

from qhal.decisions import Code
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Graph, NodeView, TensorType
from qhal.ir.layout.laid_out import to_layout
from qhal.ir.ops import Activation, Layout
from qhal.legal.decompose import decompose
from qhal.legal.legalize import legalize
from qhal.targets.capability import Capabilities, Capability, KernelRow
from qhal.targets.limit import limit
from qhal.targets.spec import FLOAT
from tests.core.ir_graphs import run

SHAPE = (1, 4, 6, 8)


def target(*kinds: str, layout: Layout = Layout.NCHW) -> Capabilities:
    """A target that has these operators, in float."""
    rows = (KernelRow(FLOAT, FLOAT),)
    both = frozenset({Activation.RELU, Activation.RELU6})
    fused = {"Conv": both, "Add": both}
    return Capabilities(tuple(Capability(k, rows, "test") for k in kinds), layout, fused=fused)


def single(op: ops.Op, shape: tuple[int, ...] = SHAPE) -> Graph:
    b = GraphBuilder("single")
    return b.build(outputs=b.add(op, [b.input("x", TensorType(shape))], name="node"))


def kinds(graph: Graph) -> list[str]:
    return [node.op.kind for node in graph.nodes]


def check_same(before: Graph, after: Graph) -> None:
    x = np.random.default_rng(1).normal(size=before.tensors["x"].shape).astype(np.float32)
    expected, found = run(before, {"x": x}), run(after, {"x": x})
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5)


def test_what_the_target_has_stays() -> None:
    graph = single(ops.HardSwish())
    assert decompose(graph, target("HardSwish")) == (graph, ())


def test_the_form_with_native_pieces_is_taken() -> None:
    graph = single(ops.HardSwish())
    for pieces, expected in (
        (("Mul", "HardSigmoid", "Add", "Relu6"), ["HardSigmoid", "Mul"]),
        (("Mul", "Add", "Relu6"), ["Add", "Relu6", "Mul", "Mul"]),
    ):
        made, decisions = decompose(graph, target(*pieces))
        assert kinds(made) == expected
        assert [d.code for d in decisions] == [Code.DECOMPOSED]
        check_same(graph, made)


def test_pieces_are_decomposed_in_turn() -> None:
    graph = single(ops.HardSwish())
    made, (decision,) = decompose(graph, target("Add", "Mul", "Maximum", "Minimum"))
    assert kinds(made) == ["Add", "Maximum", "Minimum", "Mul", "Mul"]
    assert decision.sentence == (
        "HardSwish 'node' was replaced by Add, Maximum, Minimum, 2 Mul: "
        "the target has no HardSwish."
    )
    assert made.outputs == graph.outputs
    assert all(name.startswith("node/") for name in made.constants)
    check_same(graph, made)


def test_without_the_pieces_the_node_stays() -> None:
    graph = single(ops.HardSwish())
    assert decompose(graph, target("Add")) == (graph, ())


def layer(shape: tuple[int, ...], op: ops.Op) -> Graph:
    """A product with a constant matrix, and a Relu."""
    b = GraphBuilder("layer")
    values = np.random.default_rng(0).normal(size=(5, shape[-1])).astype(np.float32)
    weight = b.constant("w", values if op.kind == "FullyConnected" else values.T)
    product = b.one(op, [b.input("x", TensorType(shape)), weight], name="node")
    return b.build(outputs=[b.one(ops.Relu(), [product])])


@limit()
def one_row(view: NodeView) -> str | None:
    """A layer has one row."""
    rows = prod(view.input().shape[:-1])
    return None if rows == 1 else f"it has {rows} rows"


PIECES = ("FullyConnected", "Conv", "Reshape", "Transpose")


def test_a_rule_says_which_nodes_stay() -> None:
    caps = replace(target(*PIECES, layout=Layout.NHWC), native={"FullyConnected": one_row})
    assert kinds(legalize(layer((1, 4), ops.FullyConnected()), caps).graph)[0] == "FullyConnected"
    graph = layer((2, 3, 4), ops.FullyConnected())
    legal = legalize(graph, caps)
    (decision,) = legal.decisions
    assert decision.sentence == (
        "FullyConnected 'node' was replaced by 2 Reshape, 2 Transpose, Conv: it has 6 rows."
    )
    check_same(graph, legal.graph)
    # The layout takes the Transposes in, and the Conv the Relu.
    laid = to_layout(legal.graph, Layout.NHWC).graph
    assert kinds(laid) == ["Reshape", "Conv", "Reshape"]


def test_what_a_form_brings_is_held_to_the_rule_too() -> None:
    caps = replace(target(*PIECES), native={"FullyConnected": one_row})
    graph = layer((2, 3, 4), ops.MatMul())
    legal = legalize(graph, caps)
    assert "FullyConnected" not in kinds(legal.graph)
    assert [d.sentence.split(":")[1] for d in legal.decisions] == [
        " the target has no MatMul.",
        " it has 6 rows.",
    ]
    check_same(graph, legal.graph)


def test_circular_forms_end() -> None:
    graph = single(ops.Sigmoid())
    assert decompose(graph, target("Mul", "Add")) == (graph, ())


def test_new_activations_are_fused() -> None:
    legal = legalize(single(ops.HardSwish()), target("Add", "Mul", "Relu6"))
    assert kinds(legal.graph) == ["Add", "Mul", "Mul"]


def test_unrolling_is_a_decision() -> None:
    b = GraphBuilder("rnn")
    x = b.input("x", TensorType((3, 1, 2)))
    w, r = (b.constant("w", np.ones((1, 8, n), np.float32)) for n in (2, 2))
    y = b.add(ops.Lstm(2), [x, w, r], name="lstm")[0]
    graph = b.build(outputs=[y])
    pieces = ("FullyConnected", "Sigmoid", "Tanh", "Mul", "Add", "Split", "Concat", "Reshape")
    legal = legalize(graph, target(*pieces))
    assert [d.code for d in legal.decisions] == [Code.UNROLLED]
    assert "3 time steps" in legal.decisions[0].sentence
    assert legal.graph.outputs == (y,)
    check_same(graph, legal.graph)


CONV = (ops.Conv((2,), (1, 0), (1,)), (5, 4, 3))
LINES: list[tuple[ops.Op, tuple[int, ...] | None]] = [
    CONV,
    (ops.DepthwiseConv((1,), (1, 1), (2,)), (4, 1, 3)),
    (ops.ConvTranspose((2,), (0, 1), (1,), (1,)), (4, 3, 3)),
    (ops.MaxPool((2,), (2,), (0, 0)), None),
    (ops.AveragePool((3,), (1,), (1, 0)), None),
    (ops.Resize("nearest", (20,), "asymmetric", "floor"), None),
]


@pytest.mark.parametrize(("op", "weight"), LINES, ids=lambda v: getattr(v, "kind", ""))
def test_one_dimension_becomes_two(op: ops.Op, weight: tuple[int, ...] | None) -> None:
    b = GraphBuilder("line")
    x = b.input("x", TensorType((1, 4, 10)))
    values = np.random.default_rng(0).normal(size=weight or 1).astype(np.float32)
    y = b.one(op, [x, b.constant("w", values)] if weight else [x], name="node")
    graph = b.build(outputs=[y])
    everything = target("Reshape", op.kind, layout=Layout.NHWC)
    legal = legalize(graph, everything)
    assert kinds(legal.graph) == ["Reshape", op.kind, "Reshape"]
    assert [d.code for d in legal.decisions] == [Code.DECOMPOSED]
    check_same(graph, legal.graph)
    assert legalize(graph, target(op.kind)).graph.nodes == graph.nodes


def test_transposed_groups_come_apart() -> None:
    b = GraphBuilder("groups")
    x = b.input("x", TensorType(SHAPE))
    w = b.constant("w", np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype(np.float32))
    bias = b.constant("b", np.arange(6, dtype=np.float32))
    op = ops.ConvTranspose((2, 2), (0, 0, 0, 0), (1, 1), (0, 0), 2)
    graph = b.build(outputs=[b.one(op, [x, w, bias])])
    caps = target("ConvTranspose", "Split", "Concat", layout=Layout.NHWC)
    legal = legalize(graph, caps)
    assert kinds(legal.graph) == ["Split", "ConvTranspose", "ConvTranspose", "Concat"]
    check_same(graph, legal.graph)


@pytest.mark.parametrize(
    "op", [ops.DepthToSpace(2), ops.DepthToSpace(2, "CRD"), ops.SpaceToDepth(2)]
)
def test_written_out_blocks_are_recognized(op: ops.Op) -> None:
    graph = single(op)
    pieces = ("Reshape", "Transpose")
    separate, _ = decompose(graph, target(*pieces))
    assert kinds(separate) == ["Reshape", "Transpose", "Reshape"]
    check_same(graph, separate)
    again = legalize(separate, target(op.kind, *pieces)).graph
    assert [n.op for n in again.nodes] == [op]
    assert kinds(legalize(separate, target(*pieces)).graph) == kinds(separate)


@pytest.mark.parametrize("numerator", ["one", "x"])
def test_divisions_by_a_root_use_rsqrt(numerator: str) -> None:
    b = GraphBuilder("root")
    x = b.input("x", TensorType((2, 3)))
    spread = b.one(
        ops.Add(), [b.one(ops.Mul(), [x, x]), b.constant("e", np.array(0.1, np.float32))]
    )
    one = b.constant("one", np.array(1, np.float32))
    y = b.one(ops.Div(), [one if numerator == "one" else x, b.one(ops.Unary("Sqrt"), [spread])])
    graph = b.build(outputs=[y])
    has_div = target("Add", "Mul", "Sqrt", "Div", "Rsqrt")
    assert legalize(graph, has_div).graph.nodes == graph.nodes
    legal = legalize(graph, target("Add", "Mul", "Rsqrt"))
    assert kinds(legal.graph) == ["Mul", "Add", "Rsqrt", "Mul"][: 3 if numerator == "one" else 4]
    check_same(graph, legal.graph)
