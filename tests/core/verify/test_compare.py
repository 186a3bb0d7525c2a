"""Streaming comparisons equal those of whole arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qhal.errors import VerificationError
from qhal.verify.compare import (
    SQNR_LIMIT_DB,
    Difference,
    Hits,
    Scores,
    StepGap,
    classes_of,
    difference,
)

_pairs = hnp.arrays(np.float32, (2, 24), elements=st.floats(-100, 100, width=32))


@given(_pairs, st.integers(1, 23))
def test_streaming_equals_the_whole(pair: tuple[np.ndarray, np.ndarray], cut: int) -> None:
    a, b = pair
    whole, parts = difference(a, b), Difference()
    parts.add(a[:cut], b[:cut])
    parts.add(a[cut:], b[cut:])
    assert parts.sqnr_db == pytest.approx(whole.sqnr_db, abs=1e-6)
    assert parts.cosine == pytest.approx(whole.cosine, abs=1e-9)
    assert parts.max_abs == whole.max_abs == np.abs(a.astype(float) - b.astype(float)).max()
    merged = difference(a[:cut], b[:cut]).merge(difference(a[cut:], b[cut:]))
    assert merged.sqnr_db == pytest.approx(whole.sqnr_db, abs=1e-6)


def test_sqnr_by_hand() -> None:
    assert difference(np.full(4, 10.0), np.full(4, 11.0)).sqnr_db == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("a", "b", "sqnr_db", "cosine"),
    [
        (0, 0, SQNR_LIMIT_DB, 1),
        (0, 1, -SQNR_LIMIT_DB, 0),
        (2, 2, SQNR_LIMIT_DB, 1),
        (1, -1, -6, -1),
    ],
)
def test_the_ends_are_finite(a: float, b: float, sqnr_db: float, cosine: float) -> None:
    found = difference(np.full(3, a), np.full(3, b))
    assert found.sqnr_db == pytest.approx(sqnr_db, abs=0.05)
    assert found.cosine == pytest.approx(cosine)


def test_nan_of_the_artifact_is_an_error() -> None:
    with pytest.raises(VerificationError, match="1 of 2 elements"):
        difference(np.ones(2), np.array([1, np.nan]))


def test_where_the_reference_is_not_finite_nothing_is_compared() -> None:
    found = difference(np.array([1, np.inf]), np.array([1, 5.0]))
    assert (found.elements, found.max_abs) == (1, 0)


def test_shapes_must_agree() -> None:
    with pytest.raises(VerificationError, match=r"shape \(3,\)"):
        difference(np.ones(2), np.ones(3))


def test_steps_of_integers_do_not_wrap() -> None:
    gap = StepGap()
    gap.add(np.array([-128, 0, 5], np.int8), np.array([127, 1, 5], np.int8))
    assert (gap.largest, gap.within_one, gap.elements) == (255, 2, 3)


def test_steps_of_floats_take_the_scale() -> None:
    gap = StepGap()
    gap.add(np.array([0.0, 0.5]), np.array([0.26, 0.5]), step=0.25)
    assert (gap.largest, gap.share_within_one) == (1, 1.0)


def test_scores() -> None:
    reference = np.eye(6)[[0, 1, 2]]
    other = np.array([[9, 1, 2, 3, 4, 5], [9, 1, 2, 3, 4, 5], [0, 0, 1, 0, 0, 0]])
    found = Scores()
    found.add(reference, other, np.array([0, 1, 5]))
    assert (found.samples, found.agree) == (3, 2)
    assert found.top1 == Hits(rows=3, reference=2, other=1, lost=1)
    assert found.top5 == Hits(rows=3, reference=2, other=1, lost=1)


def test_of_equal_scores_the_first_class_counts() -> None:
    found = Scores()
    found.add(np.zeros((1, 3)), np.zeros((1, 3)), np.array([0]))
    assert (found.top1.reference, found.top1.other) == (1, 1)


@pytest.mark.parametrize(
    ("shape", "classes"),
    [
        ((1, 10), 10),
        ((2, 10, 1, 1), 10),
        ((1, 1, 1, 7), 7),
        ((1, 3, 8, 8), 0),
        ((1, 1600, 1), 0),
        ((10,), 0),
        ((4, 1), 0),
    ],
)
def test_what_counts_as_scores(shape: tuple[int, ...], classes: int) -> None:
    assert classes_of(shape) == classes


@pytest.mark.parametrize(("labels", "shift"), [(0, 0), (-1, 1), (1, -1), (3, 0)])
def test_labels_off_by_one_are_noticed(labels: int, shift: int) -> None:
    found = Scores()
    classes = np.arange(1, 9)
    scores = np.eye(10, dtype=np.float32)[classes]
    found.add(scores, scores, classes + labels)
    assert found.label_shift == shift


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 400))
def test_the_band_of_a_drop(lost: int, gained: int, alike: int) -> None:
    rows = lost + gained + alike
    if not rows:
        return
    hits = Hits(rows, lost, gained, lost)
    low, high = hits.drop_band_pp
    assert hits.gained == gained
    assert low < high
    assert low <= hits.drop_pp <= high
    mirrored = Hits(rows, gained, lost, gained)
    assert mirrored.drop_band_pp == pytest.approx((-high, -low))


def test_the_band_of_a_drop_holds_what_it_promises() -> None:
    rng = np.random.default_rng(0)
    lost, gained, rows, trials = 0.04, 0.02, 300, 2000
    drawn = rng.multinomial(rows, [lost, gained, 1 - lost - gained], trials)
    bands = [Hits(rows, int(a), int(b), int(a)).drop_band_pp for a, b, _ in drawn]
    covered = np.mean([low <= 100 * (lost - gained) <= high for low, high in bands])
    assert 0.93 <= covered <= 0.98
