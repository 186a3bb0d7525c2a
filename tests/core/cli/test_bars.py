"""Progress is shown only when there is somebody to see it, and only if it takes long."""

from __future__ import annotations

import time

import pytest

from qhal.cli import bars


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


def test_a_log_tells_of_very_many_samples(capsys: pytest.CaptureFixture[str]) -> None:
    with bars.bars().stage("evaluate", total=99_999):
        pass
    assert capsys.readouterr().err == ""
    with bars.bars().stage("evaluate", total=1_000_000) as advance:
        advance(1)
    assert capsys.readouterr().err == "evaluate: 1,000,000 samples; --eval-samples takes fewer\n"
