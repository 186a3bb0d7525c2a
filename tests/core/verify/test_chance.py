"""Exact tests, by hand and against sums of exact fractions."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest

from qhal.verify.chance import at_least, at_most, lost_by_chance


@pytest.mark.parametrize(("hits", "rows"), [(0, 5), (3, 5), (5, 5), (6, 5), (60, 200), (0, 0)])
@pytest.mark.parametrize("share", [Fraction(1, 2), Fraction(1, 1000), Fraction(9, 10)])
def test_tails_are_exact(hits: int, rows: int, share: Fraction) -> None:
    exact = [comb(rows, k) * share**k * (1 - share) ** (rows - k) for k in range(rows + 1)]
    assert at_least(hits, rows, float(share)) == pytest.approx(float(sum(exact[hits:])), abs=1e-12)
    assert at_most(hits, rows, float(share)) == pytest.approx(
        float(sum(exact[: hits + 1])), abs=1e-12
    )


def test_what_is_certain() -> None:
    assert at_least(3, 3, 1.0) == 1.0
    assert at_least(1, 3, 0.0) == 0.0
    assert at_most(2, 3, 1.0) == 0.0


def test_lost_by_chance() -> None:
    assert lost_by_chance(0, 0) == lost_by_chance(0, 3) == 1.0
    assert lost_by_chance(1, 0) == 0.5
    assert lost_by_chance(7, 1) == pytest.approx(9 / 256)
    assert lost_by_chance(30_000, 10_000) < 1e-300
