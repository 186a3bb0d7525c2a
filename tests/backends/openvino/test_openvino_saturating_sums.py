"""Processors on which OpenVINO adds integer products inexactly are noticed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qhal.decisions import Code, Severity
from qhal.ir import ops
from qhal.plugin.backend import Trial
from qhal.quant.oracle import Oracle
from qhal_backends.openvino import saturating_sums
from qhal_backends.openvino.plugin import OpenVinoBackend
from tests.backends.openvino.openvino_models import Constant, Quantized, quantize, single, sqnr_db
from tests.backends.openvino.test_openvino_rows import CPU, WEIGHTED

openvino = pytest.importorskip("openvino", reason="pip install 'quant-hal[openvino]'")

BACKEND = OpenVinoBackend()


NARROW = "openvino-cpu-avx2"


def layer(recipe: str = "w8a8", target: str = "openvino-cpu") -> Quantized:
    return quantize(single(ops.FullyConnected(), [(2, 64), Constant((10, 64))]), recipe, target)


RUN = """
import sys
from pathlib import Path
import numpy as np
from qhal_backends.openvino.runner import load_core
from qhal_backends.openvino.saturating_sums import LOW_PRECISION, OFF, sums_saturate

folder, core = Path(sys.argv[1]), load_core()
model = core.read_model(folder / "model.xml")
for name, config in (("usual", {}), ("float", {LOW_PRECISION: OFF})):
    config |= {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(model, "CPU", config)
    np.save(folder / f"{name}.npy", compiled(dict(np.load(folder / "inputs.npz")))[0])
print(sums_saturate())
"""


def run_as(instructions: str, folder: Path, made: Quantized) -> tuple[bool, float, float]:
    """Run with the kernels of oneDNN for these instructions, on the largest inputs.

    Returns:
        What the probe says, and how close to the oracle the artifact is: as usual, and without
        low-precision transformations.
    """
    shapes = {name: made.graph.tensors[name].shape for name in made.graph.inputs}
    sample: dict[str, Any] = {name: np.full(shape, 2, np.float32) for name, shape in shapes.items()}
    for name, content in BACKEND.lower(made.model, CPU).files.items():
        (folder / name).write_bytes(content)
    np.savez(folder / "inputs.npz", **sample)
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder)],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": instructions},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (expected,) = Oracle(made.model).run(sample).values()
    close = [sqnr_db(expected, np.load(folder / f"{name}.npy")) for name in ("usual", "float")]
    return done.stdout.strip() == "True", close[0], close[1]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="kernels for x86-64")
def test_without_vnni_sums_saturate_and_without_low_precision_they_do_not(tmp_path: Path) -> None:
    saturates, usual, without = run_as("AVX2", tmp_path, layer())
    assert saturates
    assert usual < 30
    assert without > 90


@pytest.mark.skipif(platform.machine() != "x86_64", reason="kernels for x86-64")
@pytest.mark.parametrize(("op", "operands"), WEIGHTED)
def test_without_vnni_weights_of_7_bits_are_exact(
    op: ops.Op, operands: list[tuple[int, ...] | Constant], tmp_path: Path
) -> None:
    made = quantize(single(op, operands), target=NARROW)
    if not isinstance(op, ops.MatMul):
        weight = made.model.graph.constants["c1"]
        assert weight.dtype == np.int8
        assert np.abs(weight).max() == 63
    saturates, usual, _ = run_as("AVX2", tmp_path, made)
    assert saturates
    assert usual > 90


def test_the_probe_agrees_with_an_artifact_on_this_processor(tmp_path: Path) -> None:
    saturates, usual, without = run_as("ALL", tmp_path, layer())
    assert saturates == (usual < 90)
    assert without > 90


def test_who_ships_the_artifact_is_told() -> None:
    found = BACKEND.lower(layer().model, CPU).decisions
    assert [d.code for d in found] == [Code.RUNTIME_SETTING, Code.SATURATING_SUMS]
    assert found[1].severity is Severity.INFO
    assert "deploy to openvino-cpu-avx2" in found[1].sentence
    assert "LP_TRANSFORMS_MODE NO" in found[1].sentence
    narrow = replace(CPU, options={"device": "CPU", "weight_bits": "7"})
    found = BACKEND.lower(layer(target=NARROW).model, narrow).decisions
    assert [d.code for d in found] == [Code.RUNTIME_SETTING]
    stored = BACKEND.lower(layer("w8").model, CPU).decisions
    assert [d.code for d in stored] == [Code.RUNTIME_SETTING]
    npu = replace(CPU, options={"device": "NPU"})
    made = quantize(
        single(ops.FullyConnected(), [(2, 64), Constant((10, 64))]), "w8a8", "openvino-npu"
    )
    assert BACKEND.lower(made.model, npu).decisions == ()


def test_who_measures_on_such_a_processor_is_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saturating_sums, "sums_saturate", lambda: True)
    trial = Trial(BACKEND.lower(layer().model, CPU), {})
    (decision,) = BACKEND.examine(trial, None, CPU).decisions
    assert (decision.code, decision.severity) == (Code.SATURATING_SUMS, Severity.WARNING)
    stored = Trial(BACKEND.lower(layer("w8").model, CPU), {})
    assert BACKEND.examine(stored, None, CPU).decisions == ()
    monkeypatch.setattr(saturating_sums, "sums_saturate", lambda: False)
    assert BACKEND.examine(trial, None, CPU).decisions == ()
