"""Calibration samples are spread evenly, and the rest evaluate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qhal.data import Dataset, load_dataset, split
from qhal.data.splitting import spread
from qhal.decisions import Code, Severity
from qhal.errors import OptionError
from qhal.ir.graph import TensorType


def _data(samples: int) -> Dataset:
    return load_dataset({"a": np.zeros((samples, 2), np.float32)}, {"a": TensorType((1, 2))})


@given(st.integers(1, 500), st.data())
def test_spread_is_even_and_without_repetition(length: int, draw: st.DataObject) -> None:
    count = draw.draw(st.integers(1, length))
    chosen = spread(length, count)
    assert len(set(chosen.tolist())) == count
    assert 0 <= chosen.min() <= chosen.max() < length
    gaps = np.diff(chosen)
    assert count == 1 or gaps.max() - gaps.min() <= 1


def test_what_calibration_leaves_evaluates() -> None:
    found = split(_data(10), 4)
    used = set(found.calibration.indices) | set(found.evaluation.indices)
    assert (len(found.calibration), len(found.evaluation), len(used)) == (4, 6, 10)
    [decision] = found.decisions
    assert decision.code is Code.CALIBRATION_SPLIT
    assert "4 of 10" in decision.sentence
    assert "other 6" in decision.sentence


def test_nothing_left_is_a_warning() -> None:
    found = split(_data(10), 128)
    assert [d.code for d in found.decisions] == [Code.SAMPLES_SKIPPED, Code.EVALUATION_OVERLAP]
    assert found.decisions[1].severity is Severity.WARNING
    assert len(found.evaluation) == 10


def test_own_evaluation_data_are_taken_whole() -> None:
    other = load_dataset(lambda: np.ones((7, 2), "f4"), {"a": TensorType((1, 2))})
    found = split(_data(10), 4, other)
    assert found.evaluation is other
    assert found.decisions == ()
    again = split(_data(10), 4, _data(5))
    assert [d.code for d in again.decisions] == [Code.EVALUATION_OVERLAP]


def test_at_least_one_sample_calibrates() -> None:
    with pytest.raises(OptionError, match="--calib-samples is 0"):
        split(_data(3), 0)
