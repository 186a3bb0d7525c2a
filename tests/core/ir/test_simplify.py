"""Data movement that moves nothing goes; pads and activations are folded."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import numpy as np
import pytest
from ir_graphs import run

from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.fuse import fuse_activations
from qhal.ir.graph import Graph, TensorType
from qhal.ir.simplify import simplify
from qhal.target.capability import Activation, Capabilities

SHAPE = (1, 4, 6, 6)
Chain = Callable[[GraphBuilder, str], str]


def chain(*steps: ops.Op) -> Graph:
    b = GraphBuilder("chain")
    name = b.input("x", TensorType(SHAPE))
    for i, op in enumerate(steps):
        last = {"output": "y"} if i == len(steps) - 1 else {}
        extra = []
        if isinstance(op, ops.Conv):
            extra = [b.constant("w", np.ones((2, b.type(name).shape[1], 3, 3), np.float32))]
        name = b.one(op, [name, *extra], **last)
    return b.build(outputs=[name])


def kinds(graph: Graph) -> list[str]:
    return [node.op.kind for node in graph.nodes]


CONV = ops.Conv((1, 1), (0, 0, 0, 0), (1, 1))
MAX = ops.MaxPool((3, 3), (1, 1), (0, 0, 0, 0))
MEAN = ops.AveragePool((3, 3), (1, 1), (0, 0, 0, 0))
EDGES = (0, 0, 1, 1, 0, 0, 1, 0)
LOWEST = -3.4e38

CASES: list[tuple[list[ops.Op], list[str]]] = [
    ([ops.Reshape((4, 36)), ops.Reshape((144,)), ops.Reshape((12, 12))], ["Reshape"]),
    ([ops.Transpose((0, 2, 3, 1)), ops.Transpose((0, 3, 1, 2)), ops.Relu()], ["Relu"]),
    ([ops.Relu(), ops.Transpose((0, 2, 3, 1)), ops.Transpose((0, 3, 1, 2))], ["Relu"]),
    ([ops.Transpose((1, 0, 2, 3)), ops.Relu()], ["Reshape", "Relu"]),
    ([ops.Slice((0,) * 4, SHAPE, (1,) * 4), ops.Relu()], ["Relu"]),
    ([ops.Slice((0, 3, 0, 0), SHAPE, (1, -1, 1, 1)), ops.Relu()], ["Slice", "Relu"]),
    ([ops.Pad((0,) * 8), ops.Expand(SHAPE), ops.Tile((1,) * 4), ops.Relu()], ["Relu"]),
    ([ops.Reshape(SHAPE)], ["Reshape"]),
    ([ops.Pad(EDGES), CONV], ["Conv"]),
    ([ops.Pad(EDGES, value=1.0), CONV], ["Pad", "Conv"]),
    ([ops.Pad(EDGES, "reflect"), CONV], ["Pad", "Conv"]),
    ([ops.Pad((0, 1, 0, 0, 0, 0, 0, 0)), CONV], ["Pad", "Conv"]),
    ([ops.Pad(EDGES), MEAN], ["AveragePool"]),
    ([ops.Pad(EDGES), MAX], ["Pad", "MaxPool"]),
    ([ops.Relu(), ops.Pad(EDGES), MAX], ["Relu", "MaxPool"]),
    ([ops.Pad(EDGES, value=-inf), MAX], ["MaxPool"]),
    ([ops.Pad(EDGES, value=LOWEST), MAX], ["MaxPool"]),
    ([ops.Pad((0, 0, 3, 0, 0, 0, 0, 0), value=LOWEST), MAX], ["Pad", "MaxPool"]),
]


@pytest.mark.parametrize(("steps", "expected"), CASES, ids=lambda v: "-".join(map(str, v))[:50])
def test_simplify(steps: list[ops.Op], expected: list[str]) -> None:
    graph = chain(*steps)
    simple = simplify(graph)
    assert kinds(simple) == expected
    assert simple.outputs == ("y",)
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    np.testing.assert_allclose(run(simple, {"x": x})["y"], run(graph, {"x": x})["y"], rtol=1e-5)


def _caps(**fused: frozenset[Activation]) -> Capabilities:
    return Capabilities((), fused=fused)


BOTH = frozenset({Activation.RELU, Activation.RELU6})


def test_activations_are_fused_where_allowed() -> None:
    graph = chain(CONV, ops.Relu6())
    (node,) = fuse_activations(graph, _caps(Conv=BOTH)).nodes
    assert node.op == ops.Conv((1, 1), (0, 0, 0, 0), (1, 1), activation=Activation.RELU6)
    assert node.outputs == ("y",)
    only_relu = _caps(Conv=frozenset({Activation.RELU}))
    assert kinds(fuse_activations(graph, only_relu)) == ["Conv", "Relu6"]
    assert kinds(fuse_activations(graph, _caps())) == ["Conv", "Relu6"]


def test_activations_pass_what_only_moves() -> None:
    graph = chain(CONV, ops.Reshape((2, 16)), ops.Transpose((1, 0)), ops.Relu())
    fused = fuse_activations(graph, _caps(Conv=BOTH))
    assert kinds(fused) == ["Conv", "Reshape", "Transpose"]
    assert fused.nodes[0].op.activation is Activation.RELU  # type: ignore[attr-defined]
    assert fused.outputs == ("y",)
    # What flows in between is other than before, and so are the names.
    assert not {n.outputs[0] for n in graph.nodes[:3]} & set(fused.tensors)
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    np.testing.assert_allclose(run(fused, {"x": x})["y"], run(graph, {"x": x})["y"], rtol=1e-5)


def test_activations_do_not_pass_moves_that_others_read() -> None:
    b = GraphBuilder()
    x = b.input("x", TensorType((2, 3)))
    moved = b.one(ops.Reshape((6,)), [b.one(ops.Add(), [x, x])])
    graph = b.build(outputs=[b.one(ops.Relu(), [moved]), b.one(ops.Tanh(), [moved])])
    assert fuse_activations(graph, _caps(Add=BOTH)) is graph


def test_a_second_activation_stays() -> None:
    graph = fuse_activations(chain(CONV, ops.Relu6(), ops.Relu()), _caps(Conv=BOTH))
    assert kinds(graph) == ["Conv", "Relu"]


@pytest.mark.parametrize("is_output", [True, False])
def test_a_tensor_that_others_read_stays(is_output: bool) -> None:
    b = GraphBuilder()
    x = b.input("x", TensorType((2,)))
    total = b.one(ops.Add(), [x, x])
    relu = b.one(ops.Relu(), [total])
    other = total if is_output else b.one(ops.Tanh(), [total])
    graph = b.build(outputs=[relu, other])
    assert fuse_activations(graph, _caps(Add=BOTH)) is graph
