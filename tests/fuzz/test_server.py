"""What the harness changes in qhal is there to be changed."""

from __future__ import annotations

import pytest
from fuzz.server import measure_shortly

from qhal.pipeline import line


def test_the_line_measures_shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    found = vars(line)["measure"]
    monkeypatch.setattr("qhal.pipeline.line.measure", found)
    measure_shortly()
    shortly = vars(line)["measure"]
    assert (shortly.func, shortly.keywords) == (found, {"budget_s": 0.02, "memory": False})


def test_a_line_that_measures_elsewhere_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("qhal.pipeline.line.measure")
    with pytest.raises(AttributeError, match="measure"):
        measure_shortly()
