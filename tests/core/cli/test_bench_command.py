"""``qhal bench`` on the bundled example: what it prints and answers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import qhal
from qhal.cli.main import main
from qhal.metric import Basis, Metric
from qhal.results.bench import PROOF
from tests.paths import ROOT

DIGITS = ROOT / "examples" / "digits"
MODEL = str(DIGITS / "digits.onnx")
COMMAND = "import sys; from qhal.cli.main import main; sys.exit(main(sys.argv[1:]))"
NEEDS = {
    "cpu": "onnxruntime",
    "tflite": "ai_edge_litert",
    "edgetpu": "ai_edge_litert",
    "openvino-cpu": "openvino",
}

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one output folder for each target that can be had here."""
    out = tmp_path_factory.mktemp("deployed")
    targets = [target for target, package in NEEDS.items() if find_spec(package)]
    data: dict[str, Any] = {"data": DIGITS / "calibration.npz", "eval": DIGITS / "evaluation.npz"}
    assert qhal.deploy_all(MODEL, targets=targets, out=out, **data).exit_code == 0
    return out


def test_targets_side_by_side(folder: Path, capsys: Captured) -> None:
    names = sorted(path.name for path in folder.iterdir())
    assert main(["bench", *(str(folder / name) for name in names), "--model", MODEL]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert f"Bench of {len(names)} folders" in out
    table = out.partition("On this host\n")[2].partition("\n\n")[0]
    assert "speed vs." in table
    assert all(f"\n{name} " in table for name in names)
    assert out.count("The recorded latencies were measured on: ") == len(names)


def test_json_holds_every_number(folder: Path, capsys: Captured) -> None:
    data = ["--data", str(DIGITS / "evaluation.npz"), "--threads", "2"]
    assert main(["bench", str(folder / "cpu"), *data, "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    (result,) = body["results"]
    assert body["threads"] == 2
    assert "2 threads" in result["metrics"]["latency_host_p50"]["note"]
    assert result["sample"].startswith("sample 0 of ")
    only_recorded = set(result["recorded"]["metrics"]) - set(result["metrics"])
    assert only_recorded == {"latency_host_float_p50", "latency_host_float_p90", "speedup_host"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "arguments are required: FOLDER"),
        (["nowhere"], 2, "error QH402: nowhere is not a folder."),
        (["{cpu}/record.json"], 2, "is not a folder"),
        (["{cpu}/.."], 2, "error QH402: Cannot read the record"),
        (["{cpu}", "{cpu}/../cpu"], 2, "error QH301"),
        (["{cpu}", "--model", "nothing.onnx"], 2, "error QH101"),
        (["{cpu}", "--data", "nothing.npz"], 2, "error QH201"),
        (["{cpu}", "--data", "{data}", "--preprocess", "magic"], 2, "error QH205"),
        (["{cpu}", "--threads", "0"], 2, "is not a whole number of at least 1"),
    ],
)
def test_bad_input_is_one_clear_error(
    folder: Path, capsys: Captured, arguments: list[str], code: int, words: str
) -> None:
    known = {"cpu": folder / "cpu", "data": DIGITS / "calibration.npz"}
    assert main(["bench", *(argument.format(**known) for argument in arguments)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.count("error QH") == 1


@pytest.mark.parametrize(("schema_version", "words"), [(2, "upgrade"), (0, "An older qhal")])
def test_records_of_other_versions(
    folder: Path, tmp_path: Path, capsys: Captured, schema_version: int, words: str
) -> None:
    shutil.copytree(folder / "cpu", tmp_path / "cpu")
    path = tmp_path / "cpu" / "record.json"
    body = {**json.loads(path.read_text()), "schema_version": schema_version}
    path.write_text(json.dumps(body))
    assert main(["bench", str(tmp_path / "cpu")]) == 2
    assert words in capsys.readouterr().err


def test_a_backend_that_is_not_installed(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    shutil.copytree(folder / "cpu", tmp_path / "cpu")
    path = tmp_path / "cpu" / "record.json"
    body = json.loads(path.read_text())
    body["target"]["backend"] = "gone"
    path.write_text(json.dumps(body))
    assert main(["bench", str(tmp_path / "cpu")]) == 3
    assert "The backend 'gone' is not installed" in capsys.readouterr().err


def test_a_failed_proof_is_exit_code_1(
    folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = qhal.bench(folder / "cpu", budget_s=0.01)
    (result,) = good.results
    differs = {PROOF: Metric(0.5, "fraction", Basis.COUNTED_EMULATED)}
    failed = replace(good, results=(replace(result, metrics={**result.metrics, **differs}),))
    monkeypatch.setattr(qhal, "bench", lambda *folders, **options: failed)
    assert main(["bench", str(folder / "cpu")]) == 1
    assert "Not proven" in capsys.readouterr().out


ENDLESS = """
import time
from pathlib import Path

def samples():
    Path("started").touch()
    time.sleep(60)
"""


def test_interrupted(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    command = [sys.executable, "-c", COMMAND, "bench", str(folder / "cpu")]
    with subprocess.Popen(
        [*command, "--data", "endless:samples"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not (tmp_path / "started").exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err


def test_nobody_reads_the_output(folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "bench", str(folder / "cpu"), "--json"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == ""
