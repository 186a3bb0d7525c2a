"""Operators without a canonical form, and forms that depend on more than the operator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from qhal.decisions import Code
from qhal.errors import ModelInvalidError
from qhal.ir import ops
from qhal.ir.graph import Array
from tests.core.ir.importing import check_same, floats, imported, kinds, model, only, read
from tests.core.ir.test_import_operators import IMAGE, f32, i64

OPAQUE = [
    ("Conv", {}, {"w": (3, 2, 3, 3)}, "computes its weight from the model's inputs"),
    ("MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 2]}, {}, "its dilations are (2, 2)"),
    ("Resize", {"mode": "cubic"}, {}, "cubic interpolation"),
    ("Det", {}, {}, "Det has no canonical form"),
]


@pytest.mark.parametrize(("op", "attributes", "others", "reason"), OPAQUE)
def test_opaque_says_why(
    tmp_path: Path, op: str, attributes: dict[str, Any], others: dict[str, Any], reason: str
) -> None:
    operands, constants = ["x", *others], {}
    if op == "Resize":
        operands += ["", "scales"]
        constants["scales"] = f32(1, 1, 2, 2)
    node = helper.make_node(op, operands, ["y"], name="n", **attributes)
    proto = model([node], {"x": (1, 2, 8, 8), **others}, constants=constants)
    result = read(tmp_path, proto)
    (decision,) = result.decisions
    assert decision.code is Code.OPAQUE
    assert decision.subject == "n"
    assert reason in decision.sentence
    opaque = only(result.graph).op
    assert isinstance(opaque, ops.Opaque)
    assert reason in opaque.reason
    imported(tmp_path, proto)


def test_opaque_of_an_old_opset_is_brought_up_to_date(tmp_path: Path) -> None:
    node = helper.make_node("Scatter", ["x", "i", "u"], ["y"], axis=0)
    constants: dict[str, Array] = {"i": np.array([[0], [1]], np.int64), "u": floats(2, 1)}
    graph = imported(tmp_path, model([node], {"x": (3, 1)}, constants=constants, opset=9))
    opaque = only(graph).op
    assert isinstance(opaque, ops.Opaque)
    assert (opaque.op_type, opaque.opset) == ("ScatterElements", 13)


RNN = {"W": floats(1, 4, 3), "R": floats(1, 4, 4)}
LSTM = {"W": floats(1, 16, 3), "R": floats(1, 16, 4)}


@pytest.mark.parametrize(
    ("kind", "outputs", "weights"),
    [
        ("RNN", ["", "y"], RNN),
        ("RNN", ["y", ""], RNN),
        ("LSTM", ["", "", "y"], LSTM),
        ("LSTM", ["y", "", ""], LSTM),
    ],
)
def test_results_may_be_left_unnamed(
    kind: str, outputs: list[str], weights: Mapping[str, Array], tmp_path: Path
) -> None:
    node = helper.make_node(kind, ["x", "W", "R"], outputs, hidden_size=4)
    graph = imported(tmp_path, model([node], {"x": (5, 1, 3)}, constants=weights))
    assert all(name for node in graph.nodes for name in node.outputs)


@pytest.mark.parametrize(
    ("kind", "outputs", "missing"), [("TopK", ["", "y"], "Values"), ("Split", ["", "y"], "outputs")]
)
def test_a_result_that_an_operator_must_have_has_a_name(
    kind: str, outputs: list[str], missing: str, tmp_path: Path
) -> None:
    operands = ["x", "k"] if kind == "TopK" else ["x"]
    node = helper.make_node(kind, operands, outputs)
    proto = model([node], {"x": (4, 4)}, constants={"k": i64(2)})
    with pytest.raises(ModelInvalidError, match=rf"result 0 \({missing}\) is missing"):
        read(tmp_path, proto)


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize(
    ("left", "right"),
    [((2, 3, 4), (4,)), ((4,), (4, 3)), ((4,), (4,)), ((4,), (2, 4, 3)), ((3, 4), (4,))],
)
def test_products_with_vectors(
    left: tuple[int, ...], right: tuple[int, ...], constant: bool, tmp_path: Path
) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    inputs = {"x": left} if constant else {"x": left, "w": right}
    graph = imported(
        tmp_path, model([node], inputs, constants={"w": floats(*right)} if constant else {})
    )
    products = [n for n in graph.nodes if isinstance(n.op, ops.MatMul | ops.FullyConnected)]
    assert len(products) == 1
    assert all(len(graph.tensors[name].shape) >= 2 for name in products[0].inputs)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("...ij,...jk->...ik", [(2, 3, 4), (2, 4, 5)]),
        ("...i,ij->...j", [(2, 3, 4), (4, 5)]),
        ("i...,ij->j...", [(4, 2, 3), (4, 5)]),
        ("b...i,...ij->b...j", [(2, 3, 4), (3, 4, 5)]),
        ("...ij->...ji", [(2, 3, 4)]),
        ("...ij,...jk", [(2, 3, 4), (2, 4, 5)]),
        ("...,...->...", [(2, 3), (2, 3)]),
    ],
)
def test_einsum_with_an_ellipsis(
    equation: str, shapes: list[tuple[int, ...]], tmp_path: Path
) -> None:
    inputs = dict(zip("ab", shapes, strict=False))
    node = helper.make_node("Einsum", list(inputs), ["y"], equation=equation)
    assert "Einsum" not in kinds(imported(tmp_path, model([node], inputs)))


@pytest.mark.parametrize(("low", "high"), [("low", "high"), ("low", ""), ("", "high"), ("", "")])
def test_clip_of_integers(low: str, high: str, tmp_path: Path) -> None:
    node = helper.make_node("Clip", ["x", low, high], ["y"])
    values = np.arange(-4, 5).reshape(3, 3)
    proto = model([node], {"x": values}, constants={"low": np.array(-2), "high": np.array(1)})
    graph = read(tmp_path, proto).graph
    check_same(proto.SerializeToString(), graph, {"x": values})
    assert set(kinds(graph)) <= {"Maximum", "Minimum", "Reshape"}


@pytest.mark.parametrize(
    ("sizes", "wanted"), [((1, 0, 3), ["Split", "Relu", "Concat"]), ((0, 4, 0), ["Relu", "Concat"])]
)
def test_parts_without_elements_are_not_split_off(
    tmp_path: Path, sizes: tuple[int, ...], wanted: list[str]
) -> None:
    """TensorFlow Lite Micro takes an empty part for one whose size is not known yet."""
    parts = ["a", "b", "c"]
    filled = sizes.index(max(sizes))
    nodes = [
        helper.make_node("Split", ["x", "sizes"], parts, axis=1),
        helper.make_node("Relu", [parts[filled]], ["r"]),
        helper.make_node("Concat", [*parts, "r"], ["y"], axis=1),
    ]
    proto = model(nodes, {"x": IMAGE}, constants={"sizes": i64(*sizes)})
    graph = imported(tmp_path, proto)
    assert kinds(graph) == wanted
    assert all(0 not in kind.shape for kind in graph.tensors.values())


@pytest.mark.parametrize("op", ["And", "Or", "Xor"])
def test_operators_on_booleans(tmp_path: Path, op: str) -> None:
    nodes = [
        helper.make_node("Greater", ["x", "z"], ["a"]),
        helper.make_node("Less", ["x", "o"], ["b"]),
        helper.make_node(op, ["a", "b"], ["y"]),
    ]
    constants: dict[str, Array] = {"z": f32(-0.5), "o": f32(0.5)}
    graph = imported(tmp_path, model(nodes, {"x": (5, 5)}, constants=constants))
    assert graph.nodes[-1].op == ops.Logical(op)


@pytest.mark.parametrize("activation", ["Tanh", "Relu"])
def test_plain_recurrent_layers(tmp_path: Path, activation: str) -> None:
    constants: dict[str, Array] = {"w": floats(1, 4, 3), "r": floats(1, 4, 4), "b": floats(1, 8)}
    node = helper.make_node(
        "RNN", ["x", *constants], ["y", "h"], hidden_size=4, activations=[activation]
    )
    proto = model([node], {"x": (5, 2, 3)}, ["y", "h"], constants=constants)
    assert only(imported(tmp_path, proto)).op == ops.Rnn(4, "forward", activation)
