"""The command turns the reports of runtimes off; a program that imports qhal is left alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from qhal.cli import entry
from tests.paths import PATH

_STATE = "print(os.environ.get('ORT_DISABLE_TELEMETRY'), 'openvino_telemetry' in sys.modules)"


def run(code: str, **variables: str) -> str:
    kept = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", f"import os, sys\n{code}\n{_STATE}"],
        env={**kept, "PYTHONPATH": PATH, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert not done.returncode, done.stderr
    return done.stdout.splitlines()[-1]


def test_an_import_changes_nothing() -> None:
    code = "before = dict(os.environ)\nimport qhal\nqhal.deploy\nassert dict(os.environ) == before"
    assert run(code) == "None False"


def test_the_command_turns_them_off() -> None:
    code = "sys.argv = ['qhal', 'targets']\nfrom qhal.cli.entry import main\nmain()"
    assert run(code) == "1 True"
    assert run(code, ORT_DISABLE_TELEMETRY="0") == "0 True"


def test_a_program_may_turn_them_off_itself() -> None:
    assert run("from qhal.system.telemetry import turn_off\nturn_off()") == "1 True"


def test_another_system_gets_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("qhal.cli.entry.os.name", "nt")
    assert entry.main() == 2
    assert "not on this system" in capsys.readouterr().err
