"""What measured ranges change is in the record, as it became."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import qhal
from qhal.decisions import Code
from tests.core.ir.importing import model


def test_channels_that_are_scaled_in_float_are_told(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Sigmoid", ["c"], ["g"], name="gate"),
        helper.make_node("Mul", ["g", "s"], ["y"], name="scale"),
    ]
    factors = np.array([640] * 4 + [1] * 4, np.float32).reshape(1, 8, 1, 1)
    weight = rng.normal(0, 0.5, (8, 3, 1, 1)).astype(np.float32)
    proto = model(nodes, {"x": (1, 3, 8, 8)}, constants={"w": weight, "s": factors})
    onnx.save(proto, tmp_path / "model.onnx")
    np.save(tmp_path / "x.npy", rng.normal(size=(8, 1, 3, 8, 8)).astype(np.float32))
    record = qhal.deploy(
        tmp_path / "model.onnx", target="tflite", data=tmp_path / "x.npy", out=tmp_path / "out"
    )
    told = {decision.code: decision for decision in record.decisions}
    assert told[Code.JOIN_PROMOTED].subject == "scale"
    sentences = [decision.sentence for decision in record.decisions]
    assert any("Dequantize of g" in sentence for sentence in sentences)
    assert not any("Dequantize of y" in sentence for sentence in sentences)
