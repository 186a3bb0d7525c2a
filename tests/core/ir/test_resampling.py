"""Nearest elements are those that ONNX Runtime copies, where coordinates are rounded as well."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from qhal.ir.ops import Resize
from qhal.ir.resampling import nearest_indices

COORDINATES = ("asymmetric", "align_corners", "half_pixel", "pytorch_half_pixel")
ROUNDINGS = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
WIDTHS = (1, 2, 3, 7, 8, 14, 18)
COUNTS = tuple(range(1, 43))
MODES = [(c, r) for c in COORDINATES for r in ROUNDINGS]


def resizes(coordinates: str, rounding: str, size: int) -> onnx.ModelProto:
    """A line of numbers to each of the counts."""
    nodes, constants = [], []
    for count in COUNTS:
        shape = np.array([1, 1, count], np.int64)
        constants.append(numpy_helper.from_array(shape, f"s{count}"))
        modes = {"coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
        operands = ["x", "", "", f"s{count}"]
        nodes.append(helper.make_node("Resize", operands, [f"y{count}"], mode="nearest", **modes))
    kind = onnx.TensorProto.FLOAT
    line = helper.make_tensor_value_info("x", kind, (1, 1, size))
    outputs = [helper.make_tensor_value_info(f"y{count}", kind, None) for count in COUNTS]
    graph = helper.make_graph(nodes, "g", [line], outputs, constants)
    opsets = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def line(size: int) -> dict[str, np.ndarray]:
    return {"x": np.arange(size, dtype=np.float32).reshape(1, 1, size)}


@pytest.mark.parametrize(("coordinates", "rounding"), MODES)
def test_nearest_elements(coordinates: str, rounding: str) -> None:
    for size in WIDTHS:
        content = resizes(coordinates, rounding, size).SerializeToString()
        found = onnxruntime.InferenceSession(content).run(None, line(size))
        for count, value in zip(COUNTS, found, strict=True):
            op = Resize("nearest", (count,), coordinates, rounding)
            np.testing.assert_array_equal(value.ravel(), nearest_indices(op, size, count))
