"""Sums of integer products are exact on every processor, and the record says what that takes."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import qhal
from qhal.decisions import Code, Severity
from qhal.ir import ops
from qhal.plugin.backend import Artifact, RunOptions, Trial
from qhal.quant.model import QuantModel
from qhal.quant.oracle import Oracle
from qhal.targets.profile import TargetProfile
from qhal_backends.cpu import saturating_sums
from qhal_backends.cpu.plugin import CpuBackend
from tests.backends.cpu.cpu_models import UINT8, Bias, Operand, Weight, feeds, quantized
from tests.backends.cpu.test_cpu_zoo import random

TARGET = TargetProfile("cpu", backend="cpu", title="")
BACKEND = CpuBackend()
X = (1, 8, 12, 12)
SAME = ((1, 1), (1, 1, 1, 1), (1, 1))

PRODUCTS: dict[str, tuple[ops.Op, list[Operand]]] = {
    "conv": (ops.Conv(*SAME), [X, Weight((16, 8, 3, 3)), Bias(16)]),
    "grouped": (ops.Conv(*SAME, groups=2), [X, Weight((16, 4, 3, 3)), Bias(16)]),
    "depthwise": (ops.DepthwiseConv(*SAME), [X, Weight((8, 1, 3, 3)), Bias(8)]),
    "multiplied": (ops.DepthwiseConv(*SAME, multiplier=2), [X, Weight((16, 1, 3, 3))]),
    "matrix": (ops.FullyConnected(), [(2, 32), Weight((10, 32)), Bias(10)]),
    "vector": (ops.FullyConnected(), [(1, 32), Weight((10, 32))]),
    "activations": (ops.MatMul(), [(2, 3, 32), (2, 32, 7)]),
}


def brightest(model: QuantModel) -> dict[str, np.ndarray]:
    """Inputs at the upper end of their range, where sums are largest."""
    return {name: np.full_like(value, 1000) for name, value in feeds(model).items()}


@pytest.fixture
def saturating(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load and tell as on a processor without VNNI; the kernels that are taken are exact."""
    monkeypatch.setattr(saturating_sums, "sums_saturate", lambda: True)


def test_the_product_is_the_model_that_it_says() -> None:
    model = onnx.load_model_from_string(saturating_sums._PRODUCT)
    onnx.checker.check_model(model, full_check=True)
    (node,) = model.graph.node
    assert (node.op_type, *node.input, *node.output) == ("MatMulInteger", "a", "b", "c")
    kinds = [
        value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)
    ]
    proto = onnx.TensorProto
    assert kinds == [proto.UINT8, proto.INT8, proto.INT32]


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.usefixtures("saturating")
def test_exact_kernels_equal_the_oracle(name: str) -> None:
    model = quantized(*PRODUCTS[name])
    artifact = BACKEND.lower(model, TARGET)
    placed = {node.name: node for node in BACKEND.placement(artifact, TARGET).nodes}
    assert str(placed["node"].where.kernel).startswith("Q")
    assert placed["node"].where.dtype == "uint8"
    loaded, oracle = BACKEND.load(artifact, TARGET, RunOptions()), Oracle(model)
    for sample in (feeds(model), brightest(model)):
        np.testing.assert_array_equal(loaded.run(sample)["y0"], oracle.run(sample)["y0"])


def deployed(zoo: Path, folder: Path, recipe: str) -> tuple[qhal.RunRecord, Artifact]:
    np.savez(folder / "data.npz", input=random(3, 32, 32))
    record = qhal.deploy(
        zoo / "models" / "resnet20_cifar10.onnx",
        target="cpu",
        recipe=recipe,
        data=folder / "data.npz",
        out=folder / "out",
    )
    content = (folder / "out" / "model.onnx").read_bytes()
    return record, Artifact({"model.onnx": content}, "model.onnx")


@pytest.mark.usefixtures("saturating")
def test_a_model_of_many_layers_loads_with_exact_kernels(zoo: Path, tmp_path: Path) -> None:
    """Layers with as many channels have equal zero points, which must not be one constant."""
    record, artifact = deployed(zoo, tmp_path, "w8a8")
    assert record.metrics["oracle_max_steps"].value <= 1
    reported = [d for d in record.decisions if d.code is Code.RUNTIME_SETTING]
    assert ["On x86-64 processors" in d.sentence for d in reported] == [True, False]
    assert f"ran with {saturating_sums.SETTING} 1 here" in reported[1].sentence
    model = onnx.load_model_from_string(artifact.files["model.onnx"])
    signed = {w.name for w in model.graph.initializer if w.data_type == onnx.TensorProto.INT8}
    read = [n.input for n in model.graph.node if n.op_type == "DequantizeLinear"]
    zero_points = [names[2] for names in read if names[0] in signed]
    assert len(zero_points) == len(set(zero_points)) == 20


@pytest.mark.parametrize("recipe", ["w8", "fp16"])
@pytest.mark.usefixtures("saturating")
def test_float_products_need_no_setting(zoo: Path, tmp_path: Path, recipe: str) -> None:
    record, artifact = deployed(zoo, tmp_path, recipe)
    assert Code.RUNTIME_SETTING not in {d.code for d in record.decisions}
    assert BACKEND.examine(Trial(artifact, {}), None, TARGET).decisions == ()


def test_who_ships_the_artifact_is_told() -> None:
    (decision,) = BACKEND.lower(quantized(*PRODUCTS["conv"]), TARGET).decisions
    assert (decision.code, decision.severity) == (Code.RUNTIME_SETTING, Severity.INFO)
    assert "session.x64quantprecision 1" in decision.sentence
    moved = quantized(ops.MaxPool((3, 3), (2, 2), (1, 1, 1, 1)), [X], UINT8)
    assert BACKEND.lower(moved, TARGET).decisions == ()


EMULATED = """
import sys
from pathlib import Path
import numpy as np, onnxruntime
from qhal.plugin.backend import Artifact, RunOptions
from qhal_backends.cpu.saturating_sums import sums_saturate
from qhal_backends.cpu.runner import OrtRunner

folder = Path(sys.argv[1])
content = (folder / "model.onnx").read_bytes()
sample = {"x0": np.load(folder / "x0.npy")}
usual = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
exact = OrtRunner(Artifact({"model.onnx": content}, "model.onnx"), RunOptions())
expected = np.load(folder / "y0.npy")
found = usual.run(["y0"], sample)[0], exact.run(sample)["y0"]
print(sums_saturate(), *(np.array_equal(y, expected) for y in found))
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the processor is one of x86-64")
@pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="apt-get install qemu-user")
def test_a_processor_without_vnni_in_emulation(tmp_path: Path) -> None:
    """Haswell: the usual kernels compute something else there, and what qhal loads does not."""
    model = quantized(*PRODUCTS["conv"])
    sample = brightest(model)
    (tmp_path / "model.onnx").write_bytes(BACKEND.lower(model, TARGET).files["model.onnx"])
    np.save(tmp_path / "x0.npy", sample["x0"])
    np.save(tmp_path / "y0.npy", Oracle(model).run(sample)["y0"])
    command = ["qemu-x86_64", "-cpu", "Haswell", sys.executable, "-c", EMULATED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if ".avx2" in done.stderr:
        pytest.skip("this qemu has no AVX2; 7.2 is the first that has")
    assert done.stdout.split() == ["True", "False", "True"], done.stderr
