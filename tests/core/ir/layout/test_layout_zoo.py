"""Real models in channels-last order: no transpose that nothing needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qhal.ir.importer import import_model
from qhal.ir.layout.laid_out import to_layout
from qhal.ir.ops import Layout
from qhal.ir.simplify import simplify
from qhal.legal.legalize import legalize
from qhal.targets.capability import Capabilities
from tests.core.ir_graphs import run, run_permuted

SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "espcn_x3": {"input": (1, 1, 16, 24)},
    "ppocr_cls": {"x": (1, 3, 48, 96)},
    "rnnoise": {"input": (1, 3, 42)},
}
FREE_OF_TRANSPOSES = (
    *("espcn_x3", "mlperf_tiny_ad", "mlperf_tiny_ic", "mlperf_tiny_kws", "mlperf_tiny_vww"),
    *("mnist", "mobilenet_v2", "ppocr_cls", "resnet20_cifar10", "rnnoise", "silero_vad_16k"),
    *("squeezenet1_1", "yolox_nano", "yunet_n_320"),
)
ATTENTION_LAYERS = 5


@pytest.mark.parametrize("name", [*FREE_OF_TRANSPOSES, "stories260k"])
def test_transposes_that_stay(zoo: Path, name: str) -> None:
    model = import_model(zoo / "models" / f"{name}.onnx", SHAPES.get(name, {}))
    laid = to_layout(simplify(model.graph), Layout.NHWC)
    kept = [node for node in laid.graph.nodes if node.op.kind == "Transpose"]
    # Each attention needs its queries, keys, values and results in the order of MatMul.
    assert len(kept) == (4 * ATTENTION_LAYERS if name == "stories260k" else 0)


@pytest.mark.parametrize("name", ["espcn_x3", "mlperf_tiny_ic", "mnist", "rnnoise", "ppocr_cls"])
def test_values_stay(zoo: Path, name: str) -> None:
    graph = import_model(zoo / "models" / f"{name}.onnx", SHAPES.get(name, {})).graph
    laid = to_layout(legalize(graph, Capabilities(())).graph, Layout.NHWC).graph
    generator = np.random.default_rng(0)
    x = {n: generator.normal(size=graph.tensors[n].shape).astype(np.float32) for n in graph.inputs}
    expected, found = run(graph, x), run_permuted(laid, x)
    for output, value in expected.items():
        np.testing.assert_allclose(found[output], value, rtol=1e-4, atol=1e-5)
