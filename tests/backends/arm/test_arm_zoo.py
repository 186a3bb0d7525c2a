"""The models of MLPerf Tiny and MobileNet v2 on Arm's devices."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from qhal.artifact.ports import Adapter
from qhal.errors import RefusedError
from qhal.metric import Basis
from qhal.plugin.backend import Artifact, RunOptions, Trial
from qhal.plugin.registry import registry
from qhal.quant.oracle import Oracle
from qhal_backends.arm.cortexm.backend import ALLOCATIONS
from qhal_backends.arm.cortexm.interpreter import load_interpreter
from qhal_backends.arm.ethosu.configuration import configuration_of
from qhal_backends.tflite.plugin import TfliteBackend
from tests.backends.arm.zoo_models import lower, quantize

pytest.importorskip("ethosu.vela", reason="ethos-u-vela is not installed: quant-hal[arm]")
pytest.importorskip("tflite_micro", reason="tflite-micro is not installed: quant-hal[arm]")

TINY = ("mlperf_tiny_ad", "mlperf_tiny_ic", "mlperf_tiny_kws", "mlperf_tiny_vww")


def examine(artifact: Artifact, target: str) -> dict[str, float]:
    backend, profile = registry().resolve(target)
    found = backend.examine(Trial(artifact, {}), None, profile).metrics
    return {name: metric.value for name, metric in found.items()}


@pytest.mark.parametrize("name", [*TINY, "mobilenet_v2"])
def test_everything_is_on_the_npu(zoo: Path, name: str) -> None:
    artifact = lower(zoo / "models" / f"{name}.onnx", "ethos-u55-128")
    backend, profile = registry().resolve("ethos-u55-128")
    placement = backend.placement(artifact, profile)
    assert placement is not None
    assert {node.where.unit for node in placement.nodes} == {"NPU"}
    assert artifact.main == "model_vela.tflite"
    (sentence,) = [d.sentence for d in artifact.decisions if d.code.id == "QD502"]
    assert "with 100 % of the multiply-accumulates, on the NPU" in sentence


@pytest.mark.parametrize("target", ["ethos-u55-128", "ethos-u65-512", "ethos-u85-1024"])
@pytest.mark.parametrize("name", TINY)
def test_cycles_are_those_that_vela_prints(
    zoo: Path, tmp_path: Path, name: str, target: str
) -> None:
    artifact = lower(zoo / "models" / f"{name}.onnx", target)
    (tmp_path / "net.tflite").write_bytes(artifact.files["model.tflite"])
    arguments = configuration_of(registry().targets[target]).arguments
    command = [sys.executable, "-m", "ethosu.vela", "net.tflite", "--output-dir", "."]
    done = subprocess.run(
        [*command, *arguments, "--verbose-cycle-estimate"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    (summary,) = tmp_path.glob("*summary*.csv")
    row = next(csv.DictReader(StringIO(summary.read_text())))
    found = examine(artifact, target)
    assert found["cycles"] == float(row["cycles_total"])
    assert found["inferences_per_second"] == pytest.approx(float(row["inferences_per_second"]))
    assert found["sram_bytes"] == 1024 * float(row["sram_memory_used"])
    printed = re.search(r"Total cycles\s+(\d+)", done.stdout)
    assert printed is not None
    assert found["cycles"] == int(printed.group(1))


@pytest.mark.parametrize("name", TINY)
def test_micro_computes_what_litert_computes(zoo: Path, name: str) -> None:
    file = zoo / "models" / f"{name}.onnx"
    artifact, (model, data) = lower(file, "nucleo-l4r5zi"), quantize(file, "nucleo-l4r5zi")
    backend, profile = registry().resolve("nucleo-l4r5zi")
    runner = backend.load(artifact, profile, RunOptions())
    assert runner is not None
    reference = TfliteBackend().load(artifact, profile, RunOptions(reference=True))
    for index in range(2):
        inputs = Adapter.of_model(model).to_artifact(data.sample(index))
        found, wanted, exact = runner.run(inputs), reference.run(inputs), Oracle(model).run(inputs)
        for output in model.graph.outputs:
            assert np.array_equal(found[output], exact[output])
            assert np.array_equal(found[output], wanted[output])


@pytest.mark.parametrize("name", TINY)
def test_flash_and_arena(zoo: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    artifact = lower(zoo / "models" / f"{name}.onnx", "nucleo-l4r5zi")
    capfd.readouterr()
    content = artifact.files["model.tflite"]
    interpreter = load_interpreter(content)
    details = interpreter.get_input_details(0)
    interpreter.set_input(np.zeros(details["shape"], details["dtype"]), 0)
    interpreter.invoke()
    interpreter.print_allocations()
    said = re.search(r"Arena allocation total (\d+) bytes", capfd.readouterr().err)
    assert said is not None
    found = examine(artifact, "nucleo-l4r5zi")
    assert found["arena_host_bytes"] == int(said.group(1))
    assert found["arena_bytes"] > int(said.group(1))
    assert found["flash_bytes"] == len(content)
    header = artifact.files["model_data.h"].decode()
    assert f"MODEL_ARENA_BYTES {found['arena_bytes']}\n" in header
    assert said.group(1) in artifact.files[ALLOCATIONS].decode()


def test_a_model_that_does_not_fit_is_refused(zoo: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        lower(zoo / "models" / "mobilenet_v2.onnx", "nucleo-l4r5zi")
    assert "does not fit nucleo-l4r5zi" in str(caught.value)
    assert re.search(r"[\d,]+ of 2,097,152 bytes of flash", str(caught.value))
    assert re.search(r"[\d,]+ of 655,360 bytes of RAM", str(caught.value))


def test_bases(zoo: Path) -> None:
    file = zoo / "models" / "mlperf_tiny_kws.onnx"
    for target, bases in (
        ("ethos-u55-128", {Basis.ESTIMATED_COMPILER}),
        ("cortex-m4", {Basis.COUNTED, Basis.MODELED, Basis.MEASURED_HOST}),
    ):
        backend, profile = registry().resolve(target)
        found = backend.examine(Trial(lower(file, target), {}), None, profile)
        assert {metric.basis for metric in found.metrics.values()} == bases
