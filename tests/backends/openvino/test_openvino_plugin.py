"""Devices, capabilities, and what is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from qhal.doctor import examine
from qhal.errors import CatalogError, MissingDependencyError
from qhal.ir import ops
from qhal.pipeline.served import find_target
from qhal.plugin.backend import RunOptions
from qhal.plugin.registry import registry
from qhal.targets.profile import TargetProfile
from qhal.targets.recipe import recipes_of
from qhal_backends.openvino import plugin
from qhal_backends.openvino.capabilities import capabilities
from qhal_backends.openvino.devices import DEVICES
from qhal_backends.openvino.plugin import OpenVinoBackend
from tests.backends.openvino.openvino_models import Constant, quantize, single

BACKEND = OpenVinoBackend()
INSTALL = "pip install 'quant-hal[openvino]'"


RECIPES = {
    "CPU": ["w8a8", "w8", "w4a8", "w4", "w3a8", "w2a8", "nf4", "fp16", "bf16"],
    "GPU": ["w8a8", "w8", "w4", "fp16"],
    "NPU": ["w8a8", "w8", "w4", "nf4", "fp16"],
}


@pytest.mark.parametrize("device", DEVICES)
def test_recipes_and_sources_of_every_device(device: str) -> None:
    caps = capabilities(device)
    assert [r.name for r in recipes_of(caps)] == RECIPES[device]
    assert all(capability.source for capability in caps.kernels)


def test_facts_are_per_device() -> None:
    sources = [{c.source for c in capabilities(device).kernels} for device in DEVICES]
    assert not set.intersection(*sources)


def test_an_unknown_device_names_the_key_and_the_choices() -> None:
    profile = TargetProfile("mine", "openvino", "", options={"device": "TPU"}, origin="my.toml")
    with pytest.raises(CatalogError) as caught:
        BACKEND.capabilities(profile)
    assert "my.toml: targets.mine.options.device is 'TPU'" in str(caught.value)
    assert "CPU, GPU, NPU" in str(caught.value)


@pytest.mark.parametrize(("device", "bits"), [("CPU", "6"), ("CPU", "x"), ("NPU", "7")])
def test_bits_of_weights_that_no_kernel_has(device: str, bits: str) -> None:
    options = {"device": device, "weight_bits": bits}
    profile = TargetProfile("mine", "openvino", "", options=options, origin="my.toml")
    with pytest.raises(CatalogError) as caught:
        BACKEND.capabilities(profile)
    assert f"my.toml: targets.mine.options.weight_bits is '{bits}'" in str(caught.value)
    assert "Use 8, or for CPU also 7." in str(caught.value)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "find_spec", lambda name: None)
    for name in ("openvino-cpu", "openvino-npu"):
        served = find_target(name, "w8a8")
        assert INSTALL in str(BACKEND.readiness(served.target.profile).run)
        with pytest.raises(MissingDependencyError) as caught:
            served.check_can_lower()
        assert INSTALL in str(caught.value)
        assert caught.value.exit_code == 3


def test_stating_capabilities_imports_no_runtime() -> None:
    code = (
        "import sys\n"
        "from qhal.targets.profile import TargetProfile\n"
        "from qhal_backends.openvino.plugin import OpenVinoBackend\n"
        "target = TargetProfile('t', 'openvino', 't', options={'device': 'CPU'})\n"
        "OpenVinoBackend().capabilities(target)\n"
        "OpenVinoBackend().readiness(target)\n"
        "sys.exit(', '.join({'openvino', 'onnx', 'onnxruntime'} & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_device_that_is_not_here_still_gets_an_artifact(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino", reason=INSTALL)
    monkeypatch.setattr("qhal_backends.openvino.runner.available_devices", lambda: ("CPU",))
    graph = single(ops.FullyConnected(), [(2, 32), Constant((10, 32))])
    made = quantize(graph, target="openvino-npu")
    profile = registry().profile("openvino-npu")
    artifact = BACKEND.lower(made.model, profile)
    assert artifact.files.keys() == {"model.xml", "model.bin"}
    assert BACKEND.load(artifact, profile, RunOptions()) is None
    assert BACKEND.placement(artifact, profile) is None
    assert "finds no NPU here (it finds: CPU)" in str(BACKEND.readiness(profile).run)
    checks = {check.subject: check for check in examine(registry())}
    assert "finds no NPU here" in checks["target openvino-npu"].why
    assert "target openvino-cpu" not in checks
