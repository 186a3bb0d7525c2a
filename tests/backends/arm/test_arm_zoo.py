"""The models of MLPerf Tiny and MobileNet v2 on Arm's devices."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from functools import cache
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from qhal.artifact.ports import Adapter
from qhal.data import Dataset
from qhal.errors import RefusedError
from qhal.ir.importer import import_model
from qhal.metric import Basis
from qhal.pipeline.prepare import prepare
from qhal.pipeline.served import find_target
from qhal.plugin.backend import Artifact, RunOptions, Trial
from qhal.plugin.registry import registry
from qhal.quant.assign import assign
from qhal.quant.calibrate import calibrate
from qhal.quant.constraints import constrain, refuse
from qhal.quant.model import QuantModel
from qhal.quant.oracle import Oracle
from qhal.testing.samples import random_data
from qhal_backends.arm.cortexm.backend import ALLOCATIONS
from qhal_backends.arm.cortexm.interpreter import load_interpreter
from qhal_backends.arm.ethosu.configuration import configuration_of
from qhal_backends.tflite.plugin import TfliteBackend

pytest.importorskip("ethosu.vela", reason="ethos-u-vela is not installed: quant-hal[arm]")
pytest.importorskip("tflite_micro", reason="tflite-micro is not installed: quant-hal[arm]")

TINY = ("mlperf_tiny_ad", "mlperf_tiny_ic", "mlperf_tiny_kws", "mlperf_tiny_vww")
SHAPES = {"mobilenet_v2": {"input": (1, 3, 224, 224)}}


@cache
def quantize(file: Path, target: str) -> tuple[QuantModel, Dataset]:
    """A model of the zoo, calibrated with noise: placement and memory do not depend on data."""
    chosen = find_target(target, "w8a8").target
    ready = prepare(chosen, import_model(file, SHAPES.get(file.stem)))
    refuse(ready.choices, ready.laid.graph, target)
    constraints = constrain(ready.laid.graph, chosen.caps, chosen.policy, ready.choices)
    data = random_data(ready.imported.graph, count=4)
    observed = ready.laid.sources_of(constraints.to_observe)
    averaged = ready.laid.sources_of(constraints.to_average)
    found = calibrate(ready.legal.graph, data, observed, averaged)
    stats = ready.laid.with_sources(found.stats)
    return assign(constraints, stats, "minmax", ready.laid.element_order).model, data


@cache
def lower(file: Path, target: str) -> Artifact:
    backend, profile = registry().resolve(target)
    return backend.lower(quantize(file, target)[0], profile)


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
def test_flash_and_arena_are_what_the_interpreter_reports(
    zoo: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
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
    assert found["arena_bytes"] == int(said.group(1))
    assert found["flash_bytes"] == len(content)
    assert f"MODEL_ARENA_BYTES {said.group(1)}" in artifact.files["model_data.h"].decode()
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
        ("cortex-m4", {Basis.COUNTED, Basis.MEASURED_HOST}),
    ):
        backend, profile = registry().resolve(target)
        found = backend.examine(Trial(lower(file, target), {}), None, profile)
        assert {metric.basis for metric in found.metrics.values()} == bases
