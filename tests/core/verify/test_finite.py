"""NaN and Inf are told with the output's name, the node, and a hint that fits the recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import qhal
from qhal.errors import VerificationError


def save(
    folder: Path, nodes: list[onnx.NodeProto], values: np.ndarray, outputs: Sequence[str] = ("y",)
) -> None:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8]) for name in outputs],
        [onnx.numpy_helper.from_array(np.eye(8, dtype="f4"), "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "m.onnx")
    np.savez(folder / "d.npz", x=values.astype("f4"))


def refusal(folder: Path, recipe: str) -> VerificationError:
    with pytest.raises(VerificationError) as caught:
        qhal.deploy(
            folder / "m.onnx",
            target="cpu",
            recipe=recipe,
            data=folder / "d.npz",
            out=folder / "out",
            cache=False,
        )
    return caught.value


def test_a_value_that_is_rounded_to_zero_is_told_with_its_node(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(1, 100, (32, 1, 8))
    values[:, 0, 0] = 1e-4
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "product"),
        helper.make_node("MatMul", ["h", "w"], ["g"], "keeps the product in integers"),
        helper.make_node("Log", ["h"], ["y"], "log"),
    ]
    save(tmp_path, nodes, values, ["y", "g"])
    error = refusal(tmp_path, "w8a8")
    assert "elements of output y are NaN or Inf" in error.message
    assert "It begins at node log (" in error.hint
    assert "rounded to 0" in error.hint
    assert "fp16" not in error.hint
