"""The bundled example is small, good and looks like a real network."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime

from tests.paths import ROOT

DIGITS = ROOT / "examples" / "digits"


def test_it_is_small() -> None:
    assert (DIGITS / "digits.onnx").stat().st_size <= 300_000


def test_it_has_what_real_networks_have() -> None:
    model = onnx.load(DIGITS / "digits.onnx")
    onnx.checker.check_model(model, full_check=True)
    kinds = {node.op_type for node in model.graph.node}
    assert {"Conv", "BatchNormalization", "Relu", "MaxPool", "Add", "Gemm"} <= kinds
    groups = [a.i for node in model.graph.node for a in node.attribute if a.name == "group"]
    assert max(groups) > 1, "no depthwise convolution"


def test_it_is_right_on_98_percent() -> None:
    session = onnxruntime.InferenceSession(DIGITS / "digits.onnx")
    with np.load(DIGITS / "evaluation.npz") as data:
        [logits] = session.run(None, {"image": data["image"]})
        assert len(data["labels"]) >= 300
        assert float((logits.argmax(1) == data["labels"]).mean()) >= 0.98


def test_calibration_and_evaluation_do_not_overlap() -> None:
    calibration = np.load(DIGITS / "calibration.npz")["image"]
    evaluation = np.load(DIGITS / "evaluation.npz")["image"]
    seen = {image.tobytes() for image in calibration}
    assert not any(image.tobytes() in seen for image in evaluation)
