"""Numbers are printed in one way."""

from __future__ import annotations

import re

import pytest

from qhal.errors import InternalError
from qhal.metric import Basis, Metric, format_value, is_own_label
from qhal.verify.loop import GATE as LOOP_GATE
from tests.paths import ROOT


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2_300_000, "ns", "2.30 ms"),
        (950, "ns", "950 ns"),
        (3_141_592, "bytes", "3.14 MB"),
        (999, "bytes", "999 B"),
        (0.8973, "fraction", "89.73 %"),
        (2.258, "ratio", "2.26x"),
        (300_774_272, "count", "300.8 M"),
        (500, "count", "500"),
        (31.83, "dB", "31.83 dB"),
        (1, "steps", "1 step"),
        (0.99955, "cosine", "0.99955"),
        (0, "", "0"),
        (0.00012, "", "0.00012"),
        (-0.5, "points", "-0.50 points"),
        (6.2e6, "pJ", "6.20 uJ"),
        (12345.6, "dB", "12,346 dB"),
        (200.0, "dB", "200 dB, identical"),
        (1.5e-7, "of the largest output", "1.5e-07 of the largest output"),
    ],
)
def test_values_are_scaled(value: float, unit: str, text: str) -> None:
    assert format_value(value, unit) == text


def test_modeled_shows_the_word_and_the_band() -> None:
    metric = Metric(2e6, "ns", Basis.MODELED, 1e6, 3e6)
    assert str(metric) == "2 ms (modeled, 1 to 3 ms)"


def test_measured_shows_the_band_only() -> None:
    metric = Metric(2.0, "ratio", Basis.MEASURED_HOST, 1.9, 2.1)
    assert str(metric) == "2.00x (1.90x to 2.10x)"
    assert str(Metric(2.0, "ratio", Basis.COUNTED)) == "2.00x"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_not_finite_is_refused(value: float) -> None:
    with pytest.raises(InternalError, match="not finite"):
        Metric(value, "dB", Basis.COUNTED)
    with pytest.raises(InternalError, match="not finite"):
        Metric(1, "dB", Basis.COUNTED, low=value)


def test_modeled_without_a_band_is_refused() -> None:
    with pytest.raises(InternalError, match="no band"):
        Metric(1, "ns", Basis.MODELED)


def test_gates_stand_beside_the_numbers() -> None:
    """A backend's number may have the label of none of them."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "core" / "qhal").rglob("*.py")]
    named = {name for text in sources for name in re.findall(r"\bGate\(\"([\w-]+)\"", text)}
    assert {"max-drop", "max-fallback"} <= named
    assert all(is_own_label(name) for name in (*named, LOOP_GATE))
