"""GatherND and ScatterND, with indices that are constants or computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from qhal.errors import ModelInvalidError
from qhal.ir.graph import Array
from tests.core.ir.importing import check_same, floats, imported, kinds, model, read

X = (3, 4, 5)
INDICES = {
    "rows": np.array([[2], [-1], [0]]),
    "places": np.array([[[0, 1], [2, -4]], [[-3, 3], [1, 1]]]),
    "elements": np.array([[0, 1, 4], [2, -4, -5]]),
}


@pytest.mark.parametrize("name", INDICES)
def test_gathering_at_constant_places(tmp_path: Path, name: str) -> None:
    node = helper.make_node("GatherND", ["x", "i"], ["y"])
    graph = imported(tmp_path, model([node], {"x": X}, constants={"i": INDICES[name]}))
    assert kinds(graph)[-1] == "Gather"
    assert len(graph.nodes) <= 2


@pytest.mark.parametrize("name", INDICES)
def test_gathering_at_computed_places(tmp_path: Path, name: str) -> None:
    indices: Array = INDICES[name]
    node = helper.make_node("GatherND", ["x", "i"], ["y"])
    proto = model([node], {"x": X, "i": indices})
    graph = read(tmp_path, proto).graph
    assert kinds(graph)[-1] == "Gather"
    check_same(proto.SerializeToString(), graph, {"x": floats(*X), "i": indices})


@pytest.mark.parametrize("name", INDICES)
@pytest.mark.parametrize("constant", [False, True])
def test_scattering_to_constant_places(tmp_path: Path, name: str, constant: bool) -> None:
    indices = INDICES[name]
    shape = (*indices.shape[:-1], *X[indices.shape[-1] :])
    node = helper.make_node("ScatterND", ["x", "i", "u"], ["y"])
    constants: dict[str, Array] = {"i": indices} | ({"u": floats(*shape)} if constant else {})
    inputs = {"x": X} | ({} if constant else {"u": shape})
    graph = imported(tmp_path, model([node], inputs, constants=constants))
    assert kinds(graph)[-1] == "Where"


def test_of_several_updates_the_last_one_stays(tmp_path: Path) -> None:
    node = helper.make_node("ScatterND", ["x", "i", "u"], ["y"])
    constants: dict[str, Array] = {"i": np.array([[1], [1], [0]])}
    proto = model([node], {"x": (3,), "u": (3,)}, constants=constants)
    check_same(proto.SerializeToString(), read(tmp_path, proto).graph)


def test_no_update_changes_nothing(tmp_path: Path) -> None:
    node = helper.make_node("ScatterND", ["r", "i", "u"], ["y"])
    constants: dict[str, Array] = {"i": np.zeros((0, 1), np.int64), "u": floats(0, 3)}
    nodes = [helper.make_node("Relu", ["x"], ["r"]), node]
    proto = model(nodes, {"x": (2, 3)}, constants=constants)
    result = read(tmp_path, proto)
    assert kinds(result.graph) == ["Relu"]
    check_same(proto.SerializeToString(), result.graph)
    given = model([node], {"r": (2, 3), "u": (0, 3)}, constants={"i": constants["i"]})
    assert kinds(read(tmp_path, given).graph) == ["Reshape"]


def test_an_index_out_of_range_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("GatherND", ["x", "i"], ["y"], name="n")
    proto = model([node], {"x": X}, constants={"i": np.array([[3]])})
    with pytest.raises(ModelInvalidError, match=r"'n' .* an index is outside of \(3,\)"):
        read(tmp_path, proto)


@pytest.mark.parametrize(
    ("op", "attributes"), [("GatherND", {"batch_dims": 1}), ("ScatterND", {"reduction": "add"})]
)
def test_what_has_no_such_form_stays_as_it_is(
    tmp_path: Path, op: str, attributes: dict[str, Any]
) -> None:
    operands = ["x", "i", "u"] if op == "ScatterND" else ["x", "i"]
    node = helper.make_node(op, operands, ["y"], **attributes)
    indices = np.array([[0], [1], [0]])
    constants: dict[str, Array] = {"i": indices, "u": floats(3, 4, 5)}
    used = {name: value for name, value in constants.items() if name in operands}
    graph = imported(tmp_path, model([node], {"x": X}, constants=used, opset=18))
    assert kinds(graph) == [op]
