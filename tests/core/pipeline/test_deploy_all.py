"""Several targets in one run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import qhal
from qhal.cli.main import main
from qhal.errors import (
    CatalogError,
    DataFileError,
    MissingDependencyError,
    OptionError,
    RefusedError,
    UnknownTargetError,
)
from qhal.metric import Basis, Metric
from qhal.plugin.readiness import Lack, Readiness
from qhal.plugin.registry import registry
from qhal.quant import calibrate
from qhal.report import to_text
from qhal.results.fleet import Fleet, Outcome
from qhal.results.record import RunRecord
from tests.paths import ROOT

DIGITS = ROOT / "examples" / "digits"
DATA: dict[str, Any] = {"data": DIGITS / "calibration.npz", "eval": DIGITS / "evaluation.npz"}
MODEL = DIGITS / "digits.onnx"


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A catalog with a target, called odd, that its backend does not take."""
    path = tmp_path / "odd.toml"
    path.write_text('[targets.odd]\nextends = "cortex-a53"\noptions = { core = "z80" }\n')
    return path


def test_a_target_that_fails_does_not_stop_the_others(tmp_path: Path, odd: Path) -> None:
    fleet = qhal.deploy_all(
        MODEL, targets=["odd", "cpu"], out=tmp_path / "out", targets_file=odd, **DATA
    )
    failed, done = fleet.outcomes
    assert isinstance(failed.error, CatalogError)
    assert done.record is not None
    assert RunRecord.load(tmp_path / "out" / "cpu").target.name == "cpu"
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["cpu"]
    assert fleet.exit_code == 2
    text = to_text(fleet, 200)
    assert text.startswith("digits.onnx for 2 targets\n")
    assert "Done: 1 of 2 targets." in text
    assert "- odd: error QH304: " in text
    body = fleet.to_json()
    assert list(body) == ["schema_version", "ok", "model", "outcomes"]
    assert (body["schema_version"], body["ok"]) == (1, False)


def test_a_name_that_is_no_target_is_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UnknownTargetError, match="'nonsense'"):
        qhal.deploy_all(MODEL, targets=["cpu", "nonsense"], out=tmp_path / "out", **DATA)
    assert not (tmp_path / "out").exists()


def test_calibration_runs_once_even_without_a_kept_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    observe = calibrate._collect

    def counted(*arguments: Any) -> Any:
        passes.append(1)
        return observe(*arguments)

    monkeypatch.setattr(calibrate, "_collect", counted)
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


def test_a_target_whose_package_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = registry().backends["openvino"]
    absent = Readiness(lower=Lack("not here", "pip install it"))
    monkeypatch.setattr(type(lacking), "readiness", lambda self, target=None: absent)
    data = [f"--data={DATA['data']}", f"--eval={DATA['eval']}", f"--out={tmp_path / 'out'}"]
    assert main(["deploy", str(MODEL), "--target", "openvino-cpu,cpu", *data]) == 3
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["cpu"]
    assert (
        "error QH601: Artifacts for openvino-cpu cannot be written here.\n"
        "  not here: pip install it\n" in (capsys.readouterr().out)
    )


def test_a_folder_that_exists_stops_its_target_alone(tmp_path: Path, odd: Path) -> None:
    kept = tmp_path / "out" / "odd"
    (tmp_path / "out" / "cpu").mkdir(parents=True)
    (tmp_path / "out" / "cpu" / "mine.txt").touch()
    fleet = qhal.deploy_all(
        MODEL, targets=["cpu", "odd"], out=tmp_path / "out", targets_file=odd, **DATA
    )
    assert fleet.exit_code == 2
    assert "exists" in str(fleet.outcomes[0].error)
    assert not kept.exists()
    assert [p.name for p in (tmp_path / "out" / "cpu").iterdir()] == ["mine.txt"]


def test_the_worst_failure_is_the_exit_code() -> None:
    refused = Outcome("a", error=RefusedError("No kernel."))
    missing = Outcome("b", error=MissingDependencyError("Not installed."))
    assert Fleet("m.onnx", ()).exit_code == 0
    assert Fleet("m.onnx", (refused,)).exit_code == 1
    assert Fleet("m.onnx", (missing, refused)).exit_code == 3


def test_the_summary_fits_80_columns(tmp_path: Path, record: RunRecord) -> None:
    names = ["cpu", "openvino-cpu", "edgetpu", "cortex-m7", "ethos-u55-128"]
    emulated = Metric(37.25, "dB", Basis.COUNTED_EMULATED)
    measured = replace(emulated, basis=Basis.MEASURED_HOST)
    count = Metric(2e6, "count", Basis.COUNTED_EMULATED)
    ratio = Metric(0.5, "ratio", Basis.COUNTED_EMULATED)
    partial = Metric(1e6, "ns", Basis.ESTIMATED_COMPILER, omits="3 operators on the CPU")
    untimed = {name: m for name, m in record.metrics.items() if name != "latency"}
    found = (
        {**record.metrics, "sqnr[y]": measured},
        {**untimed, "sqnr[y]": emulated, "instructions": count, "instructions_ratio": ratio},
        {**record.metrics, "latency": partial},
        untimed,
    )
    records = [replace(record, metrics=metrics) for metrics in found]
    done = [Outcome(name, tmp_path / name, records[i % 4]) for i, name in enumerate(names)]
    missing = Outcome("tflite", error=MissingDependencyError("No LiteRT.", "Run: pip install it"))
    text = to_text(Fleet("digits.onnx", (*done, missing)), 80)
    assert "Top-1 of the float model: 90.00 %; drops are in percentage points." in text
    table = text.partition("target ")[2].partition("Failed")[0]
    assert max(map(len, table.splitlines())) <= 80
    for word in (*(f"\n{name} " for name in names), "37.25 dB", " (modeled)", " (emulated)"):
        assert word in table  # whole
    cells = " ".join(line[51:65].strip() for line in table.splitlines())
    assert "2 M instructions, 2x the float model's (emulated)" in cells.replace(".00", "")
    assert "(estimated by the compiler, without 3 operators on the CPU)" in cells
    assert "3.10 ms on this host" in cells
    assert {line.split()[-1] for line in table.splitlines() if " 26 B " in line} == {"1"}
    warned = text.partition("Warnings\n")[2]
    assert "QD301  cpu, openvino-cpu, edgetpu, cortex-m7," in warned
    assert "Softmax sm: runs in float." in warned
    assert "- tflite: error QH601: No LiteRT.\n  Run: pip install it\n" in text


def test_what_no_target_can_use_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DataFileError):
        qhal.deploy_all(MODEL, targets=["cpu", "tflite"], data=tmp_path / "none.npz")
    with pytest.raises(OptionError, match="contain an empty or repeated name"):
        qhal.deploy_all(MODEL, targets=["cpu", "cpu"], **DATA)


def test_the_command_takes_targets_with_commas(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [f"--data={DATA['data']}", f"--eval={DATA['eval']}", f"--out={tmp_path / 'out'}"]
    assert main(["deploy", str(MODEL), "--target", "cpu,tflite", *data]) == 0
    assert "Done: 2 of 2 targets." in capsys.readouterr().out
