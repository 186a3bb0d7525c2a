"""``qhal.bench`` where the host is not the target: compilers' figures, and emulation."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import qhal
from qhal.decisions import Code
from qhal.metric import Basis
from qhal.plugin.readiness import Lack, Readiness
from qhal.results.bench import PROOF, BenchReport, BenchResult
from qhal_backends.arm.emulator.folder import lacks_emulator
from qhal_backends.arm.ethosu.backend import EthosUBackend
from tests.paths import ROOT

DIGITS = ROOT / "examples" / "digits"
MODEL = DIGITS / "digits.onnx"
NEEDS = {"ethos-u55-128": "ethosu", "cortex-m7": "tflite_micro", "cortex-a76": "ai_edge_litert"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The bundled example for each kind of device that can be had here."""
    out = tmp_path_factory.mktemp("deployed")
    targets = [target for target, package in NEEDS.items() if find_spec(package)]
    data: dict[str, Any] = {"data": DIGITS / "calibration.npz", "eval": DIGITS / "evaluation.npz"}
    assert qhal.deploy_all(MODEL, targets=targets, out=out, **data).exit_code == 0
    return {target: out / target for target in targets}


def folder_of(folders: dict[str, Path], target: str) -> Path:
    if target not in folders:
        pytest.skip(f"{NEEDS[target]} is not installed: quant-hal[arm]")
    return folders[target]


def bench(folder: Path) -> BenchResult:
    report: BenchReport = qhal.bench(folder, model=MODEL, budget_s=0.05)
    assert report.ok
    return report.results[0]


def test_velas_cycles_are_those_of_the_record(folders: dict[str, Path]) -> None:
    result = bench(folder_of(folders, "ethos-u55-128"))
    then = result.recorded.metrics
    estimated = {n: m for n, m in result.metrics.items() if m.basis is Basis.ESTIMATED_COMPILER}
    assert {"cycles", "cycles_npu", "latency", "sram_bytes"} <= set(estimated)
    assert estimated == {name: then[name] for name in estimated}
    assert "speedup_host" in result.metrics


def test_without_a_runtime_velas_cycles_are_still_told(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(folders, "ethos-u55-128")
    absent = Readiness(run=Lack("no LiteRT", "pip install it"))
    monkeypatch.setattr(EthosUBackend, "readiness", lambda self, target=None: absent)
    monkeypatch.setattr("qhal_backends.arm.ethosu.compiler.DISTRIBUTION", "no-such-distribution")
    (result,) = qhal.bench(folder).results
    assert "cycles" in result.metrics
    assert not [name for name in result.metrics if name.startswith("latency_host")]
    assert [decision.code for decision in result.decisions] == [Code.NOT_RUNNABLE]
    assert "no LiteRT" in result.decisions[0].sentence


def test_tflite_micro_runs_and_counts(folders: dict[str, Path]) -> None:
    result = bench(folder_of(folders, "cortex-m7"))
    then = result.recorded.metrics
    for name in ("flash_bytes", "arena_bytes"):
        assert result.metrics[name].value == then[name].value
    assert "latency_host_p50" in result.metrics
    assert "latency_host_float_p50" not in result.metrics
    assert Code.NOT_RUNNABLE in {decision.code for decision in result.decisions}


def test_instructions_are_counted_again(folders: dict[str, Path]) -> None:
    folder, missing = folder_of(folders, "cortex-a76"), lacks_emulator()
    if missing and os.environ.get("QHAL_REQUIRE_ARM_EMULATOR"):
        pytest.fail(f"the Arm emulator has to be there: {missing}")
    result = bench(folder)
    now, then = result.metrics, result.recorded.metrics
    if missing:
        assert [d.code for d in result.decisions if d.code is Code.NOT_EMULATED]
        pytest.skip(f"no Arm emulator: {missing}")
    assert now[PROOF].value == now["emulated_identical"].value == 1
    # The float model of this size is so quick that LiteRT's own loop shows: 0.3 % from run to run.
    for name, tolerance in (("instructions", 1e-3), ("instructions_float", 5e-3)):
        assert now[name].value == pytest.approx(then[name].value, rel=tolerance)
    emulated = [m for m in now.values() if m.basis is Basis.COUNTED_EMULATED]
    assert {metric.unit for metric in emulated} == {"count", "ratio", "fraction"}
