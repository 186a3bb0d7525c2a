"""What is refused leaves its evidence where the user asks for it, and nothing where not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qhal_example_npu import ExampleNpu, qhal_targets

import qhal
from qhal.cli.main import main
from qhal.decisions import Code
from qhal.errors import (
    AccuracyGateError,
    ArtifactError,
    OptionError,
    OutputError,
    VerificationError,
)
from qhal.ir.graph import Array
from qhal.pipeline.deployed import open_deployed
from qhal.plugin.backend import Artifact, Runner, RunOptions
from qhal.plugin.registry import Registry
from qhal.results.record import RunRecord
from qhal.targets.profile import TargetProfile
from tests.paths import ROOT

DIGITS = ROOT / "examples" / "digits"
MODEL = DIGITS / "digits.onnx"
EVALUATION = DIGITS / "evaluation.npz"


@pytest.fixture(scope="module")
def wide() -> dict[str, Array]:
    """Calibration data a hundred times as large as what is evaluated: 8 bits lose it."""
    return {"image": np.load(DIGITS / "calibration.npz")["image"][:32] * 100}


def lossy(wide: dict[str, Array], tmp_path: Path, **options: Any) -> dict[str, Any]:
    asked = {"data": wide, "eval": EVALUATION, "observer": "minmax", "cache": False}
    return {**asked, "eval_samples": 64, "out": tmp_path / "out", **options}


def test_a_refused_drop_leaves_record_and_report(wide: dict[str, Array], tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with pytest.raises(AccuracyGateError) as caught:
        qhal.deploy(MODEL, target="cpu", **lossy(wide, tmp_path, keep_refused=kept))
    assert f"are in {kept}, without the artifact." in caught.value.hint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]
    assert sorted(path.name for path in kept.iterdir()) == ["record.json", "report.md"]
    record = RunRecord.load(kept)
    assert not record.ok
    (gate,) = [gate for gate in record.gates if not gate.passed]
    assert gate.sentence in caught.value.message
    assert record.metrics["top1_drop"].value > 50
    (found,) = [d for d in record.decisions if d.code is Code.NOT_HANDED_OUT]
    assert "Measured with the oracle on 64 samples" in found.sentence
    assert "**Gate not met: top-1 went from" in (kept / "report.md").read_text()
    with pytest.raises(ArtifactError, match="that was refused: top-1 went from"):
        open_deployed(kept)


def test_what_was_measured_to_help_is_quoted(wide: dict[str, Array], tmp_path: Path) -> None:
    with pytest.raises(AccuracyGateError) as caught:
        qhal.deploy(MODEL, target="cpu", **lossy(wide, tmp_path, cache=True))
    lines = [line.strip() for line in caught.value.hint.splitlines()]
    (asked,) = [line for line in lines if line.startswith("as it is: SQNR")]
    (better,) = [line for line in lines if line.startswith("--recipe fp16: SQNR")]
    assert "right on 63 of 64 (float 63), the float model's answer on 64" in better
    assert "answer on 64" not in asked
    assert any(line.startswith("--observer percentile: SQNR") for line in lines)
    assert "Not measured: another number of --calib-samples." in lines
    assert [*tmp_path.iterdir()] == []


def test_what_was_not_measured_is_said(wide: dict[str, Array], tmp_path: Path) -> None:
    with pytest.raises(AccuracyGateError) as caught:
        qhal.deploy(MODEL, target="cpu", **lossy(wide, tmp_path))
    assert "\nNot measured: --recipe w8, --recipe fp16, another number" in caught.value.hint


class Liar(ExampleNpu):
    """Runs artifacts and hands out something else."""

    def load(self, artifact: Artifact, target: TargetProfile, options: RunOptions) -> Runner | None:
        """The real runner, spoilt."""
        honest = super().load(artifact, target, options)
        return None if honest is None else Spoilt(honest)


class Spoilt:
    """Another runner's outputs, turned around."""

    def __init__(self, honest: Runner) -> None:
        self.honest, self.runtime = honest, honest.runtime

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once."""
        return {name: -3 * array + 2 for name, array in self.honest.run(inputs).items()}


def test_an_artifact_that_is_not_proven_leaves_them_too(tmp_path: Path) -> None:
    profiles = {profile.name: profile for profile in qhal_targets()}
    plugins = Registry({Liar().info.name: Liar()}, profiles)
    data, kept = np.load(EVALUATION)["image"], tmp_path / "kept"
    with pytest.raises(VerificationError) as caught:
        qhal.deploy(
            MODEL,
            target=next(iter(profiles)),
            data={"image": data[:64]},
            out=tmp_path / "out",
            cache=False,
            keep_refused=kept,
            registry=plugins,
        )
    record = RunRecord.load(kept)
    (gate,) = record.gates
    assert (gate.name, gate.passed) == ("verification", False)
    assert gate.sentence == caught.value.message
    assert record.plan.nodes
    assert not (tmp_path / "out").exists()


def test_several_targets_have_folders_of_their_own(
    wide: dict[str, Array], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "wide.npz", image=wide["image"])
    asked = ["deploy", str(MODEL), "--target", "cpu,tflite", "--data", str(tmp_path / "wide.npz")]
    asked += ["--eval", str(EVALUATION), "--observer", "minmax", "--eval-samples", "64"]
    asked += ["--keep-refused", str(tmp_path / "kept"), "--out", str(tmp_path / "out")]
    assert main(asked) == 1
    for name in ("cpu", "tflite"):
        body = json.loads((tmp_path / "kept" / name / "record.json").read_text())
        assert body["target"]["name"] == name
    assert not (tmp_path / "out").exists()
    assert "without the artifact" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_told_before_the_work(
    wide: dict[str, Array], tmp_path: Path
) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        qhal.deploy(MODEL, target="cpu", **lossy(wide, tmp_path, keep_refused=taken))
    with pytest.raises(OptionError, match="--keep-refused and --out are both"):
        qhal.deploy(MODEL, target="cpu", **lossy(wide, tmp_path, keep_refused=tmp_path / "out"))
    assert [path.name for path in taken.iterdir()] == ["mine.txt"]


def test_what_is_good_leaves_no_evidence(tmp_path: Path) -> None:
    good: dict[str, Any] = {"data": EVALUATION, "eval_samples": 32, "cache": False}
    record = qhal.deploy(
        MODEL, target="cpu", out=tmp_path / "out", keep_refused=tmp_path / "kept", **good
    )
    assert record.ok
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
