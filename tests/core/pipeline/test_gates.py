"""Limits to the letter where the user sets them; room for chance where nobody does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qhal.decisions import Code, Decision, Severity
from qhal.errors import LabelError
from qhal.metric import Basis, Metric
from qhal.pipeline.gates import Gated, accuracy_gate, drop_refusal
from qhal.results.gate import Gate
from qhal.verify.accuracy import Accuracy
from qhal.verify.compare import Hits, Scores


def metrics(rows: int, lost: int, gained: int) -> dict[str, Metric]:
    """Of a float model that is right in half of the rows, and one that differs from it."""
    reference = rows // 2
    hits = Hits(rows, reference, reference - lost + gained, lost)
    return Accuracy("y", rows, scores=Scores(top1=hits, top5=hits)).metrics(Basis.MEASURED_HOST)


@pytest.mark.parametrize(
    ("rows", "lost", "gained"), [(372, 4, 1), (1000, 10, 0), (50, 0, 5), (50, 0, 0)]
)
def test_up_to_one_point_passes_in_silence(rows: int, lost: int, gained: int) -> None:
    gated = accuracy_gate(metrics(rows, lost, gained), None)
    (gate,) = gated.gates
    assert (gate.name, gate.passed, gated.decisions) == ("max-drop", True, ())
    assert gate.sentence.endswith("the limit is 1")


def failed(gated: Gated) -> Gate:
    (gate,) = gated.gates
    assert not gate.passed
    assert not gated.decisions
    return gate


def test_a_gain_is_called_one() -> None:
    (gate,) = accuracy_gate(metrics(50, 0, 5), None).gates
    assert "a gain of 10.00 points (0 samples lost, 5 gained)" in gate.sentence


@pytest.mark.parametrize(
    ("rows", "lost", "gained"),
    [(10, 1, 0), (32, 1, 0), (50, 2, 0), (50, 2, 1), (300, 10, 6), (372, 8, 4)],
)
def test_what_chance_explains_passes_with_a_warning(rows: int, lost: int, gained: int) -> None:
    """All but the first are drops of the same kind, on few samples and on many."""
    gated = accuracy_gate(metrics(rows, lost, gained), None)
    (doubt,) = gated.decisions
    assert doubt.code is Code.DROP_IN_DOUBT
    assert "of 100 evaluations" in doubt.sentence
    assert gated.gates[0].passed


@pytest.mark.parametrize(
    ("rows", "lost", "gained"),
    [
        (372, 7, 1),
        (372, 8, 1),
        (372, 6, 0),
        (1000, 20, 5),
        (50, 3, 0),
        (32, 2, 0),
        (32, 5, 0),
        (10, 2, 0),
    ],
)
def test_more_is_refused(rows: int, lost: int, gained: int) -> None:
    found = metrics(rows, lost, gained)
    error = drop_refusal(failed(accuracy_gate(found, None)), found, (), "Measured: nothing helps.")
    assert f"lost, {gained} gained" in error.message
    assert "should score more than 50.00 %, check --preprocess" in error.hint
    assert "\nMeasured: nothing helps.\n" in error.hint
    assert "Warnings" not in error.message


def test_a_refusal_quotes_warnings() -> None:
    warning = Decision(Code.SATURATING_SUMS, "Sums saturate.", severity=Severity.WARNING)
    note = Decision(Code.BOUNDARY, "A step was inserted.")
    fallen = replace(warning, code=Code.FLOAT_FALLBACK, sentence="A node runs in float.")
    found = metrics(50, 25, 0)
    gate = failed(accuracy_gate(found, None))
    error = drop_refusal(gate, found, [fallen, note, warning, fallen, fallen], "")
    assert error.message.endswith(
        "\nWarnings of this run:\n  QD301: A node runs in float. And 2 more.\n"
        "  QD514: Sums saturate.\n"
    )


def test_a_limit_of_the_user_knows_no_chance() -> None:
    gate = failed(accuracy_gate(metrics(50, 1, 0), 1.0))
    assert gate.sentence.endswith("(1 sample lost, 0 gained); the limit is 1")
    assert accuracy_gate(metrics(372, 7, 1), 2.0).gates[0].passed
    assert accuracy_gate(metrics(50, 25, 0), 100.0).gates[0].passed


def test_without_labels_there_is_no_gate_unless_asked_for() -> None:
    assert accuracy_gate({}, None).gates == ()
    with pytest.raises(LabelError):
        accuracy_gate({}, 100.0)
