"""Models with inputs that nothing reads, and with none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

import qhal
from qhal.errors import ModelInvalidError
from tests.core.ir.importing import floats, model

X = floats(16, 2, 3, 4, 4)
FLAGS, COUNTS = X > 0, (10 * X).astype(np.int64)
TARGETS = ("cpu", "tflite", "openvino-cpu", "edgetpu", "cortex-m7", "cortex-a72")


@pytest.mark.parametrize("target", TARGETS)
def test_inputs_that_nothing_reads(target: str, tmp_path: Path) -> None:
    inputs = {"u": X.shape[1:], "x": X.shape[1:], "b": FLAGS[0], "i": COUNTS[0]}
    path = tmp_path / "model.onnx"
    proto = model([helper.make_node("Relu", ["x"], ["y"])], inputs)
    path.write_bytes(proto.SerializeToString())
    assert qhal.check(path, target=target).ok
    data = {"u": X, "x": X, "b": FLAGS, "i": COUNTS}
    record = qhal.deploy(path, target=target, data=data, out=tmp_path / "out")
    assert record.metrics["sqnr"].value > 40


@pytest.mark.parametrize("target", ["tflite", "edgetpu"])
def test_a_product_of_vectors_is_one_number(target: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    proto = model([helper.make_node("MatMul", ["a", "b"], ["y"])], {"a": (4,), "b": (4,)})
    path.write_bytes(proto.SerializeToString())
    data = {"a": floats(16, 4), "b": floats(16, 4)}
    record = qhal.deploy(path, target=target, data=data, out=tmp_path / "out")
    assert record.metrics["sqnr"].value > 30


def test_a_model_without_inputs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    node = helper.make_node("Relu", ["c"], ["y"])
    path.write_bytes(model([node], {}, constants={"c": floats(3)}).SerializeToString())
    with pytest.raises(ModelInvalidError, match="no inputs"):
        qhal.check(path, target="cpu")
