"""``qhal setup edgetpu-compiler`` finds the vendor's compiler, or says where to get it."""

from __future__ import annotations

from pathlib import Path

import pytest

from qhal.cli.main import main
from qhal.doctor import CheckStatus, examine
from qhal.plugin.registry import registry

SUBJECT = "setup edgetpu-compiler"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH, still empty."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def install(programs: Path) -> Path:
    program = programs / "edgetpu_compiler"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return program


def test_without_it_the_doctor_says_where_to_get_it(
    programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = {check.subject: check for check in examine(registry(), ["edgetpu"])}
    assert checks[SUBJECT].status is CheckStatus.NOTE
    assert checks[SUBJECT].advice.startswith("edgetpu_compiler is not on PATH: https://coral.ai/")
    assert checks["backend edgetpu"].status is CheckStatus.OK
    assert main(["setup", "edgetpu-compiler"]) == 3
    assert "See https://coral.ai/docs/edgetpu/compiler" in capsys.readouterr().err


def test_with_it_all_is_ready(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = install(programs)
    checks = {check.subject: check for check in examine(registry(), ["edgetpu"])}
    assert checks[SUBJECT].status is CheckStatus.OK
    assert main(["setup", "edgetpu-compiler"]) == 0
    assert capsys.readouterr().out == f"edgetpu_compiler is ready: {program}.\n"
