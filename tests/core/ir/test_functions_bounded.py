"""Functions of a model that call each other without end, or too often, are refused at once."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from qhal.errors import ModelInvalidError
from qhal.ir.importer import import_model


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
    with pytest.raises(ModelInvalidError, match=r"comes to 16,777,216 nodes .* limit is 4,096"):
        import_model(path, None)


def test_a_circle(tmp_path: Path) -> None:
    path = tower(tmp_path / "m.onnx", 3, "F0", "own")
    with pytest.raises(ModelInvalidError, match="call each other in a circle"):
        import_model(path, None)
