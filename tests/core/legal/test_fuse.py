"""Activations are folded into the operators before them where the target can."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import TensorType
from qhal.ir.ops import Activation
from qhal.legal.fuse import fuse_activations
from qhal.targets.capability import Capabilities
from tests.core.ir_graphs import SHAPE, chain, kinds, run

CONV = ops.Conv((1, 1), (0, 0, 0, 0), (1, 1))


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
