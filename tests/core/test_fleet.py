"""Several targets in one run."""

from __future__ import annotations

from pathlib import Path

import pytest

import qhal
from qhal.cli.main import main
from qhal.errors import DataFileError, OptionError, UnknownTargetError
from qhal.quant import calibrate
from qhal.record import RunRecord
from qhal.report import to_text
from qhal.report.fleet_page import fleet_page

DIGITS = Path(__file__).parents[2] / "examples" / "digits"
DATA = {"data": DIGITS / "calibration.npz", "eval": DIGITS / "evaluation.npz"}
MODEL = DIGITS / "digits.onnx"


def test_a_target_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    fleet = qhal.deploy_all(MODEL, targets=["nonsense", "cpu"], out=tmp_path / "out", **DATA)
    failed, done = fleet.outcomes
    assert isinstance(failed.error, UnknownTargetError)
    assert done.record is not None
    assert RunRecord.load(tmp_path / "out" / "cpu").target.name == "cpu"
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["cpu"]
    assert fleet.exit_code == 2
    text = to_text(fleet_page("digits.onnx", fleet), 200)
    assert "1 of 2 targets are done." in text
    assert "There is no target 'nonsense'" in text


def test_calibration_runs_once_even_without_a_kept_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    observe = calibrate._observe
    monkeypatch.setattr(calibrate, "_observe", lambda *a: passes.append(1) or observe(*a))
    kept = {"cpu-again": "cpu"}
    targets = tmp_path / "targets.toml"
    targets.write_text("".join(f'[targets.{n}]\nextends = "{b}"\n' for n, b in kept.items()))
    fleet = qhal.deploy_all(
        MODEL,
        targets=["cpu", "cpu-again"],
        out=tmp_path / "out",
        cache=False,
        targets_file=targets,
        **DATA,
    )
    assert fleet.exit_code == 0, [str(o.error) for o in fleet.outcomes]
    assert len(passes) == 1


def test_a_target_gives_the_same_artifact_alone_and_in_a_fleet(tmp_path: Path) -> None:
    alone = qhal.deploy(MODEL, target="cpu", out=tmp_path / "alone", **DATA)
    fleet = qhal.deploy_all(MODEL, targets=["cpu"], out=tmp_path / "fleet", **DATA)
    together = fleet.outcomes[0].record
    assert together is not None
    assert together.artifact.files == alone.artifact.files
    assert together.metrics["sqnr"] == alone.metrics["sqnr"]


def test_what_no_target_can_use_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DataFileError):
        qhal.deploy_all(MODEL, targets=["cpu", "cpu2"], data=tmp_path / "none.npz")
    with pytest.raises(OptionError, match="are not different names"):
        qhal.deploy_all(MODEL, targets=["cpu", "cpu"], **DATA)


def test_the_command_takes_targets_with_commas(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [f"--data={DATA['data']}", f"--eval={DATA['eval']}", f"--out={tmp_path / 'out'}"]
    assert main(["deploy", str(MODEL), "--target", "cpu,nonsense", *data]) == 2
    assert "1 of 2 targets are done." in capsys.readouterr().out
