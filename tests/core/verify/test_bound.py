"""What frames that were seen say of others."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.verify.bound import FrameEquality


def seen(wrong: np.ndarray[tuple[int], np.dtype[np.bool_]], width: int = 1) -> FrameEquality:
    """Show frames of ``width`` equal elements, all of which differ where ``wrong`` is True."""
    found = FrameEquality()
    for frame in wrong:
        found.add(np.zeros(width), np.full(width, float(frame)))
    return found


def test_nothing_wrong_is_the_rule_of_three() -> None:
    assert 100 * seen(np.zeros(300, np.bool_)).bound == pytest.approx(0.9, abs=0.1)
    assert FrameEquality().bound == 0


@pytest.mark.parametrize("run", [1, 10])
def test_the_bound_holds_for_nineteen_of_twenty(run: int) -> None:
    """Frames that err alone, and such that err in a row, at a known rate."""
    generator, share = np.random.default_rng(3), 0.05
    held = 0
    for _ in range(300):
        wrong = np.repeat(generator.random(800 // run) < share, run)
        held += seen(wrong).bound >= share
    assert held >= 0.9 * 300


def test_errors_in_a_row_say_less() -> None:
    alone, rowed = np.arange(400) % 20 == 0, np.arange(400) < 20
    assert seen(rowed).bound > 2 * seen(alone).bound


def test_elements_that_err_together_are_one() -> None:
    wrong = np.random.default_rng(0).random(400) < 0.05
    assert seen(wrong, 22).bound == pytest.approx(seen(wrong).bound, rel=0.01)
