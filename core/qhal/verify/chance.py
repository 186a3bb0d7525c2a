"""What chance explains: exact tests on counts of right and wrong answers."""

from __future__ import annotations

from math import exp, lgamma, log, log1p

_HALF = 0.5


def at_least(hits: int, rows: int, share: float) -> float:
    """Return the probability of ``hits`` or more in ``rows`` tries that each hit with ``share``."""
    if hits <= 0:
        return 1.0
    if share <= 0 or share >= 1:
        return float(share >= 1 and hits <= rows)
    return min(1.0, sum(_exactly(k, rows, share) for k in range(hits, rows + 1)))


def at_most(hits: int, rows: int, share: float) -> float:
    """Return the probability of ``hits`` or fewer; see :func:`at_least`."""
    return at_least(rows - hits, rows, 1 - share)


def lost_by_chance(lost: int, gained: int) -> float:
    """Return how often one of two equally good models loses so many of these samples, or more.

    Samples that only one of them gets right are lost and gained with the same odds then: the
    exact one-sided test of McNemar (1947, "Note on the sampling error of the difference between
    correlated proportions or percentages").
    """
    return at_least(lost, lost + gained, _HALF)


def _exactly(hits: int, rows: int, share: float) -> float:
    ways = lgamma(rows + 1) - lgamma(hits + 1) - lgamma(rows - hits + 1)
    return exp(ways + hits * log(share) + (rows - hits) * log1p(-share))
