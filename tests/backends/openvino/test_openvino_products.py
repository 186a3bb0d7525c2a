"""Matrix products in a row, of which OpenVINO makes one kernel."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

import qhal
from tests.core.ir.importing import floats, model

pytest.importorskip("openvino", reason="pip install 'quant-hal[openvino]'")


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("widths", [(8, 8, 8), (8, 1, 4), (8, 16, 8, 8), (64, 64, 10)])
@pytest.mark.parametrize("bias", [None, 0.0, 0.25])
def test_products_in_a_row(
    widths: tuple[int, ...], bias: float | None, relu: bool, tmp_path: Path
) -> None:
    x, nodes, constants = "x", [], {}
    for index, (before, after) in enumerate(pairwise(widths)):
        constants[f"w{index}"] = floats(before, after)
        operands = [x, f"w{index}"]
        if bias is not None:
            constants[f"b{index}"] = np.full(after, bias, np.float32)
            operands.append(f"b{index}")
        is_last = index == len(widths) - 2
        x = "y" if is_last else f"t{index}"
        nodes.append(helper.make_node("Gemm", operands, [x]))
        if relu and not is_last:
            nodes.append(helper.make_node("Relu", [x], [f"{x}r"]))
            x = f"{x}r"
    file = tmp_path / "rows.onnx"
    file.write_bytes(model(nodes, {"x": (1, widths[0])}, constants=constants).SerializeToString())
    data = {"x": floats(16, 1, widths[0])}
    record = qhal.deploy(file, target="openvino-cpu", data=data, out=tmp_path / "out", cache=False)
    assert float(record.metrics["sqnr"].value) > 25
