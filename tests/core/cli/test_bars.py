"""Progress is shown only when there is somebody to see it, and only if it takes long."""

from __future__ import annotations

import time

import pytest

from qhal.cli import bars
from qhal.progress import SILENT


def test_nothing_is_drawn_without_a_terminal() -> None:
    assert bars.bars() is SILENT


def test_a_short_step_is_never_seen(capsys: pytest.CaptureFixture[str]) -> None:
    with bars.TerminalBars().stage("quick", 3) as advance:
        advance(3)
    assert capsys.readouterr().err == ""


def test_a_long_step_is_seen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bars, "_DELAY_S", 0.01)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with bars.TerminalBars().stage("calibrate", 3) as advance:
        time.sleep(0.3)
        advance(1)
    assert "calibrate" in capsys.readouterr().err
