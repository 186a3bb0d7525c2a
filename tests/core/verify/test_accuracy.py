"""Each output is compared by itself, and integers for equality."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.decisions import Code, Severity
from qhal.errors import VerificationError
from qhal.metric import Basis, Metric
from qhal.report.headline import output_words, worst_cell
from qhal.verify.accuracy import Accuracy


def compared(
    reference: dict[str, np.ndarray], other: dict[str, np.ndarray]
) -> tuple[Accuracy, dict[str, Metric]]:
    accuracy = Accuracy(None)
    for _ in range(2):
        accuracy.add(reference, other, None)
    return accuracy, accuracy.metrics(Basis.MEASURED_HOST)


BOXES, SCORES = np.full((1, 40), 100.0, np.float32), np.full((1, 10), 0.5, np.float32)
CLASSES = np.arange(10, dtype=np.int64)[None]


def test_a_loud_output_hides_no_other() -> None:
    accuracy, metrics = compared(
        {"boxes": BOXES, "scores": SCORES}, {"boxes": BOXES + 1, "scores": SCORES + 0.25}
    )
    assert metrics["sqnr"].value == pytest.approx(6.02, abs=0.01)
    assert metrics["sqnr[boxes]"].value == pytest.approx(40.0)
    assert metrics["sqnr[scores]"].value == metrics["sqnr"].value
    assert metrics["sqnr"].note == (
        "scores, the worst of 2 outputs; against the float model, 2 samples"
    )
    assert metrics["max_abs_error"].value == pytest.approx(1.0)
    assert output_words(metrics) == "worst of 2 outputs: scores SQNR 6.02 dB"
    assert worst_cell(metrics) == "6.02 dB (scores)"
    (warning,) = accuracy.decisions()
    assert (warning.code, warning.subject) == (Code.OUTPUT_FAR, "scores")
    assert warning.severity is Severity.WARNING
    assert "its error is 50 % of the signal (SQNR 6.0 dB)" in warning.sentence


def test_integers_are_compared_for_equality() -> None:
    wrong = CLASSES.copy()
    wrong[0, 0] = 1_000_000
    accuracy, metrics = compared(
        {"ids": CLASSES, "boxes": BOXES, "any": CLASSES > 3},
        {"ids": wrong, "boxes": BOXES + 1, "any": CLASSES > 5},
    )
    assert metrics["sqnr"].value == metrics["sqnr[boxes]"].value == pytest.approx(40.0)
    assert metrics["equal[ids]"].value == 0.9
    assert metrics["equal"].value == metrics["equal[any]"].value == 0.8
    assert "sqnr[ids]" not in metrics
    assert output_words(metrics) == ("worst of 3 outputs: boxes SQNR 40 dB, any 80.00 % equal")
    assert [d.subject for d in accuracy.decisions()] == ["any"]


def test_one_output_is_named_by_nothing() -> None:
    accuracy, metrics = compared({"boxes": BOXES}, {"boxes": BOXES + 1})
    assert metrics["sqnr"].note == "against the float model, 2 samples"
    assert metrics["sqnr[boxes]"].value == metrics["sqnr"].value
    assert output_words(metrics) == "output SQNR 40 dB"
    assert worst_cell(metrics) == "40 dB"
    _, metrics = compared({"ids": CLASSES}, {"ids": CLASSES})
    assert "sqnr" not in metrics
    assert output_words(metrics) == "output 100.00 % equal"
    assert accuracy.decisions() == ()


def test_integers_of_another_shape_are_an_error() -> None:
    with pytest.raises(VerificationError, match="has shape"):
        Accuracy(None).add({"ids": CLASSES}, {"ids": CLASSES[0]}, None)
