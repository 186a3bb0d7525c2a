"""Functions of a model are written out; those that call each other without end are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from qhal.errors import ModelInvalidError
from qhal.ir.importer import import_model
from qhal.ir.ops import LeakyRelu, Unary


def tower(path: Path, floors: int, top: str, domain: str) -> Path:
    """Write functions of which each calls the next one twice, and the last one ``top``."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    functions = []
    for i in range(floors):
        kind, where = (top, domain) if i == floors - 1 else (f"F{i + 1}", "own")
        body = [
            helper.make_node(kind, ["a"], ["m"], domain=where),
            helper.make_node(kind, ["m"], ["b"], domain=where),
        ]
        functions.append(helper.make_function("own", f"F{i}", ["a"], ["b"], body, opsets))
    graph = helper.make_graph(
        [helper.make_node("F0", ["x"], ["y"], domain="own")],
        "tower",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    onnx.save(
        helper.make_model(graph, functions=functions, opset_imports=opsets, ir_version=9), path
    )
    return path


def test_a_small_tower_is_inlined(tmp_path: Path) -> None:
    graph = import_model(tower(tmp_path / "m.onnx", 3, "Neg", ""), None).graph
    assert len(graph.nodes) <= 8


def test_a_tower_that_doubles_at_each_floor(tmp_path: Path) -> None:
    path = tower(tmp_path / "m.onnx", 24, "Relu", "")
    with pytest.raises(ModelInvalidError, match=r"comes to 16,777,216 nodes .* limit is 16,384"):
        import_model(path, None)


def test_a_circle(tmp_path: Path) -> None:
    path = tower(tmp_path / "m.onnx", 3, "F0", "own")
    with pytest.raises(ModelInvalidError, match="call each other in a circle"):
        import_model(path, None)


OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]


def model_of(
    path: Path, function: onnx.FunctionProto, nodes: Sequence[onnx.NodeProto], end: str = "y"
) -> Path:
    """Write a model from "x" to ``end`` that calls a function."""
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in ("x", end)]
    graph = helper.make_graph(nodes, "calls", infos[:1], infos[1:])
    model = helper.make_model(graph, functions=[function], opset_imports=OPSETS, ir_version=9)
    onnx.save(model, path)
    return path


def test_a_model_with_thousands_of_calls(tmp_path: Path) -> None:
    """Each name that inlining makes is new at once, or this would take a minute."""
    body = [
        helper.make_node("Sigmoid", ["a"], ["m"]),
        helper.make_node("Tanh", ["m"], ["n"]),
        helper.make_node("Relu", ["n"], ["b"]),
    ]
    function = helper.make_function("own", "F", ["a"], ["b"], body, OPSETS)
    names = ["x", *(f"y{i}" for i in range(2000))]
    calls = [helper.make_node("F", [a], [b], domain="own") for a, b in pairwise(names)]
    path = model_of(tmp_path / "m.onnx", function, calls, names[-1])
    assert len(import_model(path, None).graph.nodes) == 6000


@pytest.mark.parametrize(("given", "alpha"), [({}, 0.75), ({"slope": 0.25}, 0.25)])
def test_a_call_without_an_attribute_has_its_default(
    tmp_path: Path, given: Mapping[str, float], alpha: float
) -> None:
    leaky = helper.make_node("LeakyRelu", ["a"], ["b"])
    reference = onnx.AttributeProto(name="alpha", ref_attr_name="slope", type="FLOAT")
    leaky.attribute.append(reference)
    default = [helper.make_attribute("slope", 0.75)]
    function = helper.make_function(
        "own", "F", ["a"], ["b"], [leaky], OPSETS, attribute_protos=default
    )
    call = helper.make_node("F", ["x"], ["y"], domain="own")
    call.attribute.extend(helper.make_attribute(*item) for item in given.items())
    graph = import_model(model_of(tmp_path / "m.onnx", function, [call]), None).graph
    assert [node.op for node in graph.nodes] == [LeakyRelu(alpha)]


def test_a_result_of_a_function_that_nobody_takes(tmp_path: Path) -> None:
    body = [helper.make_node("Neg", ["a"], ["b"]), helper.make_node("Abs", ["a"], ["c"])]
    function = helper.make_function("own", "F", ["a"], ["b", "c"], body, OPSETS)
    call = helper.make_node("F", ["x"], ["", "y"], domain="own")
    graph = import_model(model_of(tmp_path / "m.onnx", function, [call]), None).graph
    assert [node.op for node in graph.nodes] == [Unary("Abs")]


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [(["x", "x"], ["y"], "has 2 inputs, and the function 1"), (["x"], ["y", "z"], "has 2 outputs")],
)
def test_a_call_with_more_than_the_function_has(
    tmp_path: Path, inputs: list[str], outputs: list[str], words: str
) -> None:
    body = [helper.make_node("Neg", ["a"], ["b"])]
    function = helper.make_function("own", "F", ["a"], ["b"], body, OPSETS)
    call = helper.make_node("F", inputs, outputs, domain="own")
    with pytest.raises(ModelInvalidError, match=words):
        import_model(model_of(tmp_path / "m.onnx", function, [call]), None)
