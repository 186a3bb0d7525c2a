"""The shell around the commands: arguments, errors, exit codes, signals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

import qhal
from qhal.cli import options
from qhal.cli.main import COMMANDS, main
from qhal.errors import DataFileError, FallbackGateError, InternalError, MissingDependencyError
from tests.plugins.distributions import EVERY, installed

DEPLOY = ["deploy", "model.onnx", "--target", "cpu", "--data", "data.npz"]

Fail = Callable[[BaseException], None]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Fail:
    """Make the work behind ``qhal deploy`` raise."""

    def install(error: BaseException) -> None:
        def deploy(*args: Any, **settings: Any) -> NoReturn:
            raise error

        monkeypatch.setattr(qhal, "deploy", deploy, raising=False)

    return install


@pytest.mark.parametrize(
    ("error", "code", "first", "hint"),
    [
        (
            DataFileError("No file x.", "Check --data."),
            2,
            "error QH201: No file x.",
            "Check --data",
        ),
        (FallbackGateError("3 nodes.", "See."), 1, "error QH502: 3 nodes.", "See."),
        (MissingDependencyError("No LiteRT.", "pip."), 3, "error QH601: No LiteRT.", "pip."),
        (
            ModuleNotFoundError("No module named 'ai_edge_litert'", name="ai_edge_litert"),
            3,
            "error QH601: The package 'ai_edge_litert' is not installed.",
            "Run: pip install ai_edge_litert",
        ),
    ],
)
def test_errors_are_words_on_stderr_and_an_exit_code(
    failing: Fail,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    first: str,
    hint: str,
) -> None:
    failing(error)
    assert main(DEPLOY) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == first
    assert err.splitlines()[1].startswith("  ")
    assert hint in err
    assert "Traceback" not in err


@pytest.mark.parametrize("error", [KeyError("x"), InternalError("a tensor has two producers")])
def test_a_bug_says_so_and_keeps_the_traceback(
    failing: Fail,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    failing(error)
    assert main(DEPLOY) == 70
    err = capsys.readouterr().err
    assert "This is a bug in qhal" in err
    assert "Traceback" not in err
    [saved] = tmp_path.iterdir()
    assert str(saved) in err
    assert type(error).__name__ in saved.read_text()


def test_the_traceback_is_printed_on_request(
    failing: Fail, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QHAL_TRACEBACK", "1")
    failing(DataFileError("No file x."))
    assert main(DEPLOY) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_interruption_is_not_an_error(failing: Fail, capsys: pytest.CaptureFixture[str]) -> None:
    failing(KeyboardInterrupt())
    assert main(DEPLOY) == 130
    assert capsys.readouterr().err == "interrupted: nothing is left half-written\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["deply"], "Did you mean deploy?"),
        ([*DEPLOY, "--formce"], "Did you mean --force?"),
        ([*DEPLOY, "--max-dorp=1"], "Did you mean --max-drop?"),
        ([], "required: COMMAND"),
        (["deploy", "model.onnx", "--target", "cpu"], "required: --data"),
        ([*DEPLOY, "--observer", "mean"], "invalid choice: 'mean'"),
        ([*DEPLOY, "--shape", "1,2,3"], "not NAME=D,D,…"),
        ([*DEPLOY, "--shape", "x=1,0"], "not NAME=D,D,…"),
        ([*DEPLOY, "--shape", "x=1", "--shape", "x=2"], "'x' is given twice"),
        ([*DEPLOY, "--calib-samples", "0"], "not a whole number of at least 1"),
        ([*DEPLOY, "--max-drop", "-1"], "not a number from 0 to 100"),
        ([*DEPLOY, "--max-drop", "nan"], "not a number from 0 to 100"),
        ([*DEPLOY, "--thread", "2"], "Did you mean --threads?"),
        ([*DEPLOY, "--bogus"], "Unknown argument '--bogus'.\n  See qhal deploy --help."),
        (
            [*DEPLOY, "--target", "cpu,tflite,cpu"],
            "'cpu,tflite,cpu' does not name each target once",
        ),
        ([*DEPLOY, "--target", "cpu,"], "'cpu,' does not name each target once"),
        ([*DEPLOY, "--target", ""], "'' does not name each target once"),
    ],
)
def test_bad_arguments(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error QH301: ")
    assert words in err


def test_arguments_reach_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def deploy(model: str, **settings: Any) -> NoReturn:
        seen.update(settings, model=model)
        raise KeyboardInterrupt

    monkeypatch.setattr(qhal, "deploy", deploy, raising=False)
    main([*DEPLOY, "--shape", "a:0=1,2", "--shape", "b=c=3", "--label-offset", "-1", "--no-cache"])
    assert seen["shapes"] == {"a:0": (1, 2), "b=c": (3,)}
    assert seen["label_offset"] == -1
    assert seen["cache"] is False
    assert seen["out"] is None
    assert seen["max_fallback"] is None


def test_several_targets_may_have_spaces_between_them() -> None:
    assert options.names("cpu, edgetpu ,tflite") == ["cpu", "edgetpu", "tflite"]


def test_the_help_names_what_exists() -> None:
    from qhal.data import PRESETS
    from qhal.quant.range_estimators import RANGE_ESTIMATORS
    from qhal.targets.recipe import RECIPES

    assert tuple(recipe.name for recipe in RECIPES) == options.RECIPES
    assert tuple(RANGE_ESTIMATORS) == options.OBSERVERS
    assert tuple(PRESETS) == options.PREPROCESSINGS


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
    assert f"qhal {qhal.__version__}" in capsys.readouterr().out


def test_json_and_text_of_the_lists(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("targets", "plugins", "doctor cpu"):
        assert main(command.split()) == 0
        assert capsys.readouterr().out.strip()
        assert main([*command.split(), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)


def test_one_target_shows_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "edgetpu"]) == 0
    out = capsys.readouterr().out
    assert "active_power_w" in out
    assert "2 W" in out
    assert "coral.ai" in out


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = "import sys; from qhal.cli.main import main; sys.exit(main(['targets', '--json']))"
    process = subprocess.Popen(
        [sys.executable, "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    err = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait() == 141
    assert err == ""


LOST = """
import signal, sys, time
import qhal
from qhal.cli.main import main

class Dying:
    def __del__(self):
        signal.raise_signal(signal.{name})

def deploy(*args, **settings):
    Dying()
    time.sleep(20)

qhal.deploy = deploy
sys.exit(main(["deploy", "m", "--target", "cpu", "--data", "d"]))
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_where_python_cannot_raise_is_not_lost(name: str, code: int) -> None:
    script = LOST.format(name=name)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=15, check=False
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("closed", "code"), [("1", 0), ("2", 0)])
def test_closed_streams_are_no_error(closed: str, code: int) -> None:
    command = f'"{sys.executable}" -m qhal.cli targets {closed}>&-'
    assert subprocess.run(command, shell=True, capture_output=True, check=False).returncode == code


def test_broken_plugins_are_listed_and_harm_nobody(tmp_path: Path) -> None:
    path = (os.environ.get("PYTHONPATH"), str(installed(tmp_path, *EVERY)))
    done = subprocess.run(
        [sys.executable, "-m", "qhal.cli", "plugins", "--json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    broken = {problem["distribution"] for problem in found["problems"]}
    assert {"broken-import", "broken-exit", "broken-api", "clashing-cpu", "twin-one"} <= broken
    assert all(problem["fix"] for problem in found["problems"])
    working = {plugin["distribution"] for plugin in found["plugins"] if plugin["backends"]}
    assert {"quant-hal", "sound-npu"} <= working
