"""A Clip of which every value of the data lies on one side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

import qhal
from tests.core.ir.importing import model

X = -np.linspace(1, 2, 96, dtype=np.float32).reshape(12, 1, 8)
WEIGHT = np.eye(8, 6, dtype=np.float32)


@pytest.mark.parametrize("target", ["cpu", "tflite", "cortex-m7"])
@pytest.mark.parametrize(("low", "high"), [(1.0, 6.0), (5.0, 9.0), (-9.0, -5.0), (-6.0, 6.0)])
def test_a_bound_that_all_or_no_values_reach(
    low: float, high: float, target: str, tmp_path: Path
) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["t"]),
        helper.make_node("Clip", ["t", "low", "high"], ["y"]),
    ]
    bounds = {"low": np.asarray(low, np.float32), "high": np.asarray(high, np.float32)}
    proto = model(nodes, {"x": (1, 8)}, constants={"w": WEIGHT, **bounds})
    (tmp_path / "clip.onnx").write_bytes(proto.SerializeToString())
    np.savez(tmp_path / "data.npz", x=X)
    record = qhal.deploy(
        tmp_path / "clip.onnx", target=target, data=tmp_path / "data.npz", out=tmp_path / "out"
    )
    assert record.metrics["sqnr"].value > 30
