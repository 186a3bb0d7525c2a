"""The commands on the bundled example: what they print, write and answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from qhal.cli.main import main
from tests.paths import ROOT

DIGITS = ROOT / "examples" / "digits"
MODEL = str(DIGITS / "digits.onnx")
DATA = ["--data", str(DIGITS / "calibration.npz"), "--eval", str(DIGITS / "evaluation.npz")]
COMMAND = """
import sys
from qhal.cli.entry import main
print("begun", flush=True, file=sys.stderr)
sys.exit(main())
"""
TARGETS = ("cpu", "tflite", "edgetpu")

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def deploy(*more: str, target: str = "cpu") -> int:
    return main(["deploy", MODEL, "--target", target, *DATA, *more])


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("target", TARGETS)
def test_deploy_writes_an_artifact_a_record_and_a_report(
    here: Path, capsys: Captured, target: str
) -> None:
    assert deploy(target=target) == 0
    out = capsys.readouterr().out
    assert "top-1" in out
    [folder] = here.iterdir()
    assert folder.name == f"digits-{target}-w8a8"
    assert {"record.json", "report.md"} < set(written(folder))
    record = json.loads((folder / "record.json").read_text())
    assert {"schema_version", "artifact", "metrics", "timings_s", "decisions", "plan"} <= set(
        record
    )
    for file in record["artifact"]["files"]:
        assert (folder / file["name"]).stat().st_size == file["size_bytes"]
    drop = record["metrics"]["top1_float"]["value"] - record["metrics"]["top1"]["value"]
    assert drop <= 0.01


def test_json_is_the_record(here: Path, capsys: Captured) -> None:
    assert deploy("--json", "--out", "out") == 0
    assert json.loads(capsys.readouterr().out) == json.loads((here / "out/record.json").read_text())


@pytest.mark.parametrize("target", TARGETS)
def test_two_runs_write_the_same_bytes(here: Path, target: str) -> None:
    for out in ("one", "two"):
        assert deploy("--out", out, "--no-cache", target=target) == 0
    names = [n for n in written(here / "one") if n not in {"record.json", "report.md"}]
    assert names
    for name in names:
        assert (here / "one" / name).read_bytes() == (here / "two" / name).read_bytes()


def test_check_needs_no_data(here: Path, capsys: Captured) -> None:
    assert main(["check", MODEL, "--target", "edgetpu"]) == 0
    assert "DepthwiseConv" in capsys.readouterr().out
    assert main(["check", MODEL, "--target", "edgetpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    assert written(here) == []


@pytest.mark.parametrize("stage", ["imported", "legal", "laid"])
def test_check_dumps_the_graph(capsys: Captured, stage: str) -> None:
    assert main(["check", MODEL, "--target", "tflite", "--dump", stage]) == 0
    out = capsys.readouterr().out
    assert out.startswith("graph ")
    assert ("NHWC" in out) == (stage == "laid")


def test_explain_tells_about_nodes_and_tensors(here: Path, capsys: Captured) -> None:
    assert deploy("--out", "out") == 0
    capsys.readouterr()
    for name in ("stem_conv", "image"):
        assert main(["explain", "out", name]) == 0
        assert name in capsys.readouterr().out
    assert main(["explain", "out/record.json", "stem_conv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["nodes"]
    assert main(["explain", "out", "stem_cnv"]) == 2
    assert "Did you mean stem_conv" in capsys.readouterr().err
    assert main(["explain", "nowhere", "x"]) == 2
    assert "error QH402" in capsys.readouterr().err


def test_a_gate_that_is_not_met(here: Path, capsys: Captured) -> None:
    nonsense = np.random.default_rng(0).uniform(-99, 99, (64, 1, 8, 8)).astype(np.float32)
    np.savez(here / "nonsense.npz", image=nonsense)
    job = ["deploy", MODEL, "--target", "cpu", "--data", "nonsense.npz"]
    good = ["--eval", str(DIGITS / "evaluation.npz"), "--out", "out"]
    for limit, words in (([], "the limit is 1."), (["--max-drop", "0.5"], "the limit is 0.5.")):
        assert main([*job, *good, *limit]) == 1
        error = capsys.readouterr().err
        assert "error QH503" in error
        assert words in error
        assert "--recipe w8" in error
        assert written(here) == ["nonsense.npz"]
    accepted = error.partition("`--max-drop ")[2].partition("`")[0]
    assert main([*job, *good, "--max-drop", accepted]) == 0


def test_an_existing_folder_is_kept(here: Path, capsys: Captured) -> None:
    assert deploy("--out", "out") == 0
    before = (here / "out/record.json").stat()
    capsys.readouterr()
    assert deploy("--out", "out") == 2
    assert "error QH401" in capsys.readouterr().err
    assert (here / "out/record.json").stat() == before
    assert deploy("--out", "out", "--force") == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing.onnx", "--target", "cpu", *DATA], 2, "error QH101"),
        ([MODEL, "--target", "cpuu", *DATA], 2, "Did you mean cpu?"),
        ([MODEL, "--target", "cpu", *DATA, "--recipe", "w7"], 2, "error QH303"),
        ([MODEL, "--target", "edgetpu", *DATA, "--recipe", "fp16"], 2, "error QH303"),
        ([MODEL, "--target", "cpu", "--data", "nothing.npz"], 2, "error QH201"),
        ([MODEL, "--target", "cpu", *DATA, "--preprocess", "magic"], 2, "error QH205"),
        ([MODEL, "--target", "cpu", *DATA, "--shape", "nothing=1,2"], 2, "error QH103"),
        ([MODEL, "--target", "cpu", *DATA, "--targets", "nothing.toml"], 2, "error QH304"),
        ([str(DIGITS), "--target", "cpu", *DATA], 2, "error QH101"),
    ],
)
def test_bad_input_is_one_clear_error(
    here: Path, capsys: Captured, arguments: list[str], code: int, words: str
) -> None:
    assert main(["deploy", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert "Traceback" not in err
    assert written(here) == []


LIMITED = """
import resource, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from qhal.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def spawn(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(Path.cwd() / "cache")},
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("delay_s", [0.3, 0.8, 1.2])
def test_a_signal_leaves_nothing_half_written(
    here: Path, number: signal.Signals, code: int, delay_s: float
) -> None:
    process = spawn(COMMAND, "deploy", MODEL, "--target", "cpu", *DATA, "--out", "out")
    assert process.stderr is not None
    assert process.stderr.readline() == "begun\n"  # Python itself takes a while to start
    time.sleep(delay_s)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    # Once the folder is published it stays, whole; while Python shuts down the system's own
    # handlers are back.
    assert process.returncode in (code, 0, -number)
    names = set(written(here)) - {"cache"}
    assert names in ({"out"}, set())
    assert names or process.returncode != 0
    if names:
        assert set(written(here / "out")) == {"model.onnx", "record.json", "report.md"}


def test_a_full_disk_leaves_nothing_half_written(here: Path) -> None:
    few = np.random.default_rng(0).uniform(0, 1, (20, 1, 8, 8)).astype(np.float32)
    np.savez(here / "few.npz", image=few)
    job = ["deploy", MODEL, "--target", "cpu", "--data", "few.npz", "--out", "out", "--no-cache"]
    process = spawn(LIMITED, "20000", *job)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    assert "error QH401" in err
    assert set(written(here)) - {"cache"} == {"few.npz"}


def test_check_says_that_it_takes_one_target(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", MODEL, "--target", "cpu,tflite"]) == 2
    said = "'cpu,tflite' names several targets, and this command takes one"
    assert said in capsys.readouterr().err
