"""Models with inputs and outputs that have no dimensions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import helper

import qhal
from qhal.artifact.ports import Adapter
from qhal.results.record import RunRecord
from tests.core.ir.importing import floats, model

WEIGHT, GAINS, IMAGES = floats(4, 3, 3, 3), np.abs(floats(16)) + 0.5, floats(16, 3, 4, 4)


def _model(folder: Path) -> Path:
    """Multiply a convolution with one number, and return the mean beside it."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["c", "gain"], ["y"]),
        helper.make_node("ReduceMax", ["y"], ["top"], keepdims=0),
    ]
    inputs = {"x": (1, 3, 4, 4), "gain": ()}
    path = folder / "scalar.onnx"
    proto = model(nodes, inputs, ("y", "top"), constants={"w": WEIGHT})
    path.write_bytes(proto.SerializeToString())
    return path


def _deploy(path: Path, target: str, out: Path) -> RunRecord:
    np.savez(path.with_suffix(".npz"), x=IMAGES, gain=GAINS)
    return qhal.deploy(path, target=target, data=path.with_suffix(".npz"), out=out)


@pytest.mark.parametrize("target", ["cpu", "tflite", "openvino-cpu", "cortex-m7"])
def test_a_number_as_input_and_as_output(target: str, tmp_path: Path) -> None:
    record = _deploy(_model(tmp_path), target, tmp_path / "out")
    shapes = {port.name: (port.shape, port.artifact_shape) for port in record.model.inputs}
    assert shapes["gain"] == ((), ())
    assert record.model.outputs[1].artifact_shape == ()


def test_the_artifact_computes_what_the_model_does(tmp_path: Path) -> None:
    path = _model(tmp_path)
    record = _deploy(path, "cpu", tmp_path / "out")
    adapter = Adapter(record.model.inputs, record.model.outputs)
    sample = {"x": IMAGES[:1], "gain": np.asarray(GAINS[0])}
    whole, quantized = (
        ort.InferenceSession(str(file)) for file in (path, tmp_path / "out" / record.artifact.main)
    )
    wanted = whole.run(["y", "top"], sample)
    names = [port.artifact_name for port in adapter.outputs]
    found = quantized.run(names, adapter.to_artifact(sample))
    for one, other in zip(wanted, found, strict=True):
        assert np.shape(one) == np.shape(other)
        np.testing.assert_allclose(one, other, atol=0.05 * np.abs(wanted[0]).max())
