"""Real models: the canonical graph computes what the original computes in onnxruntime."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from qhal.decisions import Code
from qhal.errors import ModelShapeError
from qhal.ir.importer import import_model
from qhal.ir.ops import Opaque
from tests.core.ir.importing import check_same

SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "espcn_x3": {"input": (1, 1, 64, 64)},
    "ppocr_cls": {"x": (1, 3, 48, 192)},
    "rnnoise": {"input": (1, 5, 42)},
}

MODELS = [
    *("espcn_x3", "mlperf_tiny_ad", "mlperf_tiny_ic", "mlperf_tiny_kws", "mlperf_tiny_vww"),
    *("mnist", "mobilenet_v2", "ppocr_cls", "resnet20_cifar10", "rnnoise", "silero_vad_16k"),
    *("squeezenet1_1", "stories260k", "yolox_nano", "yunet_n_320"),
]

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


@pytest.mark.parametrize("name", MODELS)
def test_zoo(zoo: Path, name: str) -> None:
    path = zoo / "models" / f"{name}.onnx"
    result = import_model(path, SHAPES.get(name, {}))
    assert not any(isinstance(node.op, Opaque) for node in result.graph.nodes)
    assert all(node.origin for node in result.graph.nodes)
    check_same(path.read_bytes(), result.graph)


EXPECTED = {
    "mnist": {"Conv", "Relu", "MaxPool", "Reshape", "FullyConnected"},
    "mlperf_tiny_ad": {"FullyConnected", "Relu"},
    "resnet20_cifar10": {
        *("Conv", "Relu", "Add", "Slice", "Pad", "ReduceMean", "Reshape", "FullyConnected"),
    },
    "mobilenet_v2": {"Conv", "DepthwiseConv", "Relu6", "Add", "ReduceMean", "Reshape"},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_left(zoo: Path, name: str) -> None:
    graph = import_model(zoo / "models" / f"{name}.onnx", {}).graph
    assert {node.op.kind for node in graph.nodes} == EXPECTED[name]


@pytest.mark.parametrize("name", ["espcn_x3", "ppocr_cls", "rnnoise"])
def test_free_dimensions_are_asked_for(zoo: Path, name: str) -> None:
    with pytest.raises(ModelShapeError, match="free dimensions"):
        import_model(zoo / "models" / f"{name}.onnx", {})


def test_import_says_what_it_bound(zoo: Path) -> None:
    path = zoo / "models" / "mobilenet_v2.onnx"
    result = import_model(path, {})
    assert [d.code for d in result.decisions] == [Code.BATCH_BOUND]
    assert result.size_bytes == path.stat().st_size


@pytest.mark.parametrize("path", sorted(LIGHT.glob("*.onnx")), ids=lambda path: path.stem)
def test_light_models(path: Path) -> None:
    """The architectures that the onnx package ships, with made-up weights."""
    graph = import_model(path, {}).graph
    assert not any(isinstance(node.op, Opaque) for node in graph.nodes)
    if path.stem.split("_", 1)[1] in ("densenet121", "inception_v2", "shufflenet", "squeezenet"):
        check_same(path.read_bytes(), graph)  # the others have hundreds of megabytes
