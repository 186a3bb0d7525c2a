"""The builder, the verifier and the text form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qhal.errors import InternalError
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Graph, Node, TensorType
from qhal.ir.text import to_text
from qhal.ir.verify import verify
from qhal.quant.model import QuantParams
from tests.conftest import Golden


def small() -> Graph:
    b = GraphBuilder("small")
    x = b.input("x", TensorType((1, 3, 8, 8)))
    w = b.constant("w", np.ones((4, 3, 3, 3), np.float32))
    conv = b.one(ops.Conv((1, 1), (1, 1, 1, 1), (1, 1)), [x, w, ""], name="conv", origin=["c0"])
    clip = b.one(ops.Clip(-1.0, float("inf")), [conv], output="clip")
    half = b.constant("half", np.array(0.5, np.float32))
    y = b.one(ops.Mul(), [clip, half], name="mul", output="y")
    return b.build(outputs=[*b.add(ops.Split(1, (1, 3)), [y], name="parts"), y])


def test_names_are_fresh() -> None:
    b = GraphBuilder()
    assert [b.constant("c", np.zeros(1)) for _ in range(3)] == ["c", "c_1", "c_2"]
    first, second = (b.one(ops.Relu(), ["c"], name="relu") for _ in range(2))
    assert (first, second) == ("relu", "relu_1")
    assert [n.name for n in b.nodes] == ["relu", "relu_1"]


def test_a_rewrite_does_not_take_names_that_come_later() -> None:
    graph = small()
    b = GraphBuilder(start=graph)
    added = b.one(ops.Relu(), ["x"], name="conv")
    assert added != "conv"
    for node in graph.nodes:
        b.emit(node)
    assert [n.name for n in b.nodes].count("conv") == 1


def test_unused_parts_are_dropped_and_inputs_stay() -> None:
    b = GraphBuilder()
    x, unused = b.input("x", TensorType((2,))), b.input("unused", TensorType((3,)))
    b.one(ops.Relu(), [unused], name="dead")
    b.constant("dead_constant", np.zeros(2))
    graph = b.build(outputs=[b.one(ops.Tanh(), [x])])
    assert [n.name for n in graph.nodes] == ["Tanh"]
    assert graph.inputs == ("x", "unused")
    assert not graph.constants


def test_quantized_types_survive_a_rewrite() -> None:
    node = Node("q", ops.Quantize(), ("x",), ("y",))
    tensors = {"x": TensorType((2,)), "y": TensorType((2,), DType.UINT8)}
    b = GraphBuilder(start=Graph("g", ("x",), ("y",), (node,), tensors))
    b.emit(node)
    assert b.build().tensors["y"].dtype is DType.UINT8


BROKEN = {
    "before it is produced": lambda g: replace(g, nodes=g.nodes[::-1]),
    "assigned 2 times": lambda g: replace(
        g, nodes=(*g.nodes, replace(g.nodes[0], name="again"))
    ),
    "nodes are called": lambda g: replace(
        g, nodes=(*g.nodes, replace(g.nodes[0], outputs=("other",))),
        tensors={**g.tensors, "other": g.tensors["conv"]},
    ),
    "has no type": lambda g: replace(
        g, tensors={k: v for k, v in g.tensors.items() if k != "conv"}
    ),
    "produces float32": lambda g: replace(
        g, tensors={**g.tensors, "conv": TensorType((1, 4, 8, 9))}
    ),
    "no node produces output": lambda g: replace(g, nodes=g.nodes[:-1]),
    "constant 'w'": lambda g: replace(
        g, constants={**g.constants, "w": np.ones((4, 3, 3, 3), np.float64)}
    ),
    "is not a permutation": lambda g: replace(g, permutations={"x": (0, 1)}),
    "neither input nor output": lambda g: replace(g, permutations={"conv": (0, 1, 2, 3)}),
}  # fmt: skip


@pytest.mark.parametrize("message", BROKEN)
def test_broken_graphs_are_refused(message: str) -> None:
    verify(small())
    with pytest.raises(InternalError, match=message) as caught:
        verify(BROKEN[message](small()))
    assert caught.value.exit_code == 70


def test_text_is_golden(golden: Golden) -> None:
    graph = replace(small(), permutations={"x": (0, 2, 3, 1)})
    per_axis = QuantParams(
        DType.INT8, np.array([0.5, 0.25, 1, 2], np.float32), np.zeros(4, np.int64), axis=0
    )
    params = {"x": QuantParams.per_tensor(DType.INT8, 0.1, -3), "w": per_axis}
    golden("ir/small.txt", to_text(graph, params))
