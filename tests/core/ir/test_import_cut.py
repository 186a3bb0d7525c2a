"""A model that ends at tensors that the user names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from qhal.decisions import Code
from qhal.errors import OptionError
from qhal.ir.importer import import_model
from qhal.verify import FloatReference
from tests.core.ir.importing import floats, model

WEIGHT = floats(8, 4)
X = floats(1, 8)


def two_heads() -> onnx.ModelProto:
    """Two heads on one stem, joined at the end."""
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "w"], ["features"], name="stem"),
        node("Relu", ["features"], ["boxes"], name="box_head"),
        node("Sigmoid", ["features"], ["scores"], name="class_head"),
        node("Concat", ["boxes", "scores"], ["y"], axis=1, name="join"),
        node("Shape", ["y"], ["size"], name="measure"),
        node("Cast", ["size"], ["length"], to=onnx.TensorProto.FLOAT, name="as_float"),
    ]
    return model(nodes, {"x": (1, 8)}, ["y", "length"], constants={"w": WEIGHT})


def run(path: Path, *outputs: str) -> dict[str, np.ndarray[Any, Any]]:
    """Run the user's file up to these tensors."""
    found = FloatReference(path, outputs, cut=True).run({"x": X})
    return {name: np.asarray(value, np.float32) for name, value in found.items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "model.onnx"
    onnx.save(two_heads(), found)
    return found


def test_the_model_ends_there_in_the_order_that_was_asked_for(path: Path) -> None:
    found = import_model(path, outputs=["scores", "features"])
    assert found.graph.outputs == ("scores", "features")
    assert [node.op.kind for node in found.graph.nodes] == ["FullyConnected", "Sigmoid"]
    (told,) = [d for d in found.decisions if d.code is Code.OUTPUTS_CHOSEN]
    assert told.sentence == "The model ends at scores, features, as --output says."
    assert found.sha256 == import_model(path).sha256


def test_the_names_that_the_file_can_be_cut_at_do_not_depend_on_the_cut(path: Path) -> None:
    names = {"features", "boxes", "scores", "y", "size", "length"}
    assert import_model(path).computed == names
    assert import_model(path, outputs=["boxes"]).computed == names


def test_the_float_reference_gives_the_same_tensors(path: Path) -> None:
    found = run(path, "scores", "features")
    features = X @ WEIGHT
    np.testing.assert_allclose(found["features"], features, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["scores"], 1 / (1 + np.exp(-features)), rtol=1e-4)


def test_weights_beside_the_file_are_found(tmp_path: Path) -> None:
    path = tmp_path / "apart" / "model.onnx"
    path.parent.mkdir()
    onnx.save(two_heads(), path, save_as_external_data=True, location="model.bin", size_threshold=0)
    found = run(path, "boxes")
    np.testing.assert_allclose(found["boxes"], np.maximum(X @ WEIGHT, 0), rtol=1e-4, atol=1e-5)
    assert import_model(path, outputs=["boxes"]).graph.outputs == ("boxes",)


def test_what_only_a_branch_reads_is_kept(tmp_path: Path) -> None:
    def branch(kind: str) -> onnx.GraphProto:
        body = helper.make_node(kind, ["features"], [f"from_{kind}"])
        return helper.make_graph([body], kind, [], [onnx.ValueInfoProto(name=f"from_{kind}")])

    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["features"]),
        helper.make_node(
            "If", ["yes"], ["chosen"], then_branch=branch("Abs"), else_branch=branch("Neg")
        ),
        helper.make_node("Sigmoid", ["chosen"], ["y"]),
    ]
    path = tmp_path / "model.onnx"
    constants = {"w": WEIGHT, "yes": np.array(True)}
    onnx.save(model(nodes, {"x": (1, 8)}, constants=constants), path)
    found = import_model(path, outputs=["chosen"])
    assert [node.op.kind for node in found.graph.nodes] == ["FullyConnected", "Abs"]
    np.testing.assert_allclose(
        run(path, "chosen")["chosen"],
        np.abs(X @ WEIGHT),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("outputs", "said", "advice"),
    [
        (["score"], "the model computes no tensor 'score'", "Did you mean scores?"),
        ([""], "the model computes no tensor ''", "It computes boxes, features, length"),
        (["x"], "'x' is an input of the model", "Name a tensor that a node computes."),
        (["w"], "'w' is a constant of the model", "Name a tensor that a node computes."),
        (["class_head"], "'class_head' is a node (Sigmoid)", "Its result is --output scores."),
        (["boxes", "boxes"], "'boxes' is given twice", "Name each tensor once."),
        (["boxes", "length"], "'length' is a constant", "Name a tensor that depends on an input."),
    ],
    ids=["near", "empty", "input", "weight", "node", "twice", "same"],
)
def test_other_names_are_refused(path: Path, outputs: list[str], said: str, advice: str) -> None:
    with pytest.raises(OptionError) as caught:
        import_model(path, outputs=outputs)
    assert said in caught.value.message
    assert advice in caught.value.hint
