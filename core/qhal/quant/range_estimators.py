"""Range estimators: which real range a tensor's integers shall cover.

An estimator chooses from the statistics that calibration collected
(:mod:`qhal.quant.collectors`). Users choose the estimator with the option ``observer``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from qhal.errors import OptionError
from qhal.quant.collectors import Histogram, TensorStats
from qhal.targets.spec import QuantSpec

Floats = npt.NDArray[np.float64]
RealRange = tuple[float, float]


def choose_range(stats: TensorStats, spec: QuantSpec, observer: str) -> RealRange:
    """Choose the real range that a tensor's integers shall cover.

    Args:
        stats: what calibration saw.
        spec: integer type, and whether it is symmetric.
        observer: name of a range estimator, as users give it: a key of :data:`RANGE_ESTIMATORS`.

    Returns:
        (low, high), within the extremes that were seen. It need not contain 0 or be symmetric:
        whoever turns it into parameters extends it.

    Raises:
        OptionError: there is no range estimator of this name.
    """
    try:
        estimate = RANGE_ESTIMATORS[observer]
    except KeyError:
        known = ", ".join(RANGE_ESTIMATORS)
        raise OptionError(
            f"There is no range estimator {observer!r}.", f"Use one of {known}."
        ) from None
    return estimate(stats, spec)


def _minmax(stats: TensorStats, spec: QuantSpec) -> RealRange:
    """Take all that was seen."""
    return stats.minimum, stats.maximum


PERCENTILE = 99.999
"""The share of the elements, in percent, that the percentile estimator keeps."""


def _percentile(stats: TensorStats, spec: QuantSpec) -> RealRange:
    """Cut off (100 - PERCENTILE)/2 percent at each end."""
    histogram = stats.histogram
    below = np.cumsum(histogram.counts)
    cut = (1.0 - PERCENTILE / 100.0) / 2.0 * below[-1]
    low = histogram.edges[int(np.searchsorted(below, cut, side="right"))]
    high = histogram.edges[int(np.searchsorted(below, below[-1] - cut, side="left")) + 1]
    return max(stats.minimum, float(low)), min(stats.maximum, float(high))


_CANDIDATES = 128


def _mse(stats: TensorStats, spec: QuantSpec) -> RealRange:
    """Take the range with the least expected squared error.

    A value inside the range is off by a uniform rounding error, step^2/12; a value outside by its
    distance to the range. Both are summed over the histogram for every pair of candidate ends
    (as in Banner et al., "Post training 4-bit quantization of convolutional networks", 2019,
    with the measured distribution in the place of a Laplace one).
    """
    low, high = min(stats.minimum, 0.0), max(stats.maximum, 0.0)
    if low == high:
        return stats.minimum, stats.maximum
    below = _candidate_ends(low)
    above = _candidate_ends(high)
    if spec.symmetric:
        reach = max(-low, high)
        above = _candidate_ends(reach)
        below = -above
        clipped = _clip_errors(stats.histogram, below)[0] + _clip_errors(stats.histogram, above)[1]
        span = above - below
    else:
        clip_low = _clip_errors(stats.histogram, below)[0]
        clip_high = _clip_errors(stats.histogram, above)[1]
        clipped = clip_low[:, None] + clip_high[None, :]
        span = above[None, :] - below[:, None]
    levels = float(spec.qmax - spec.qmin)
    rounding = (span / levels) ** 2 / 12.0 * stats.histogram.total
    best = np.unravel_index(int(np.argmin(clipped + rounding)), span.shape)
    chosen = float(below[best[0]]), float(above[best[-1]])
    return max(chosen[0], stats.minimum), min(chosen[1], stats.maximum)


def _candidate_ends(extreme: float) -> Floats:
    """List ends from the extreme towards 0, in equal parts; 0 only if it is the extreme."""
    if extreme == 0.0:
        return np.zeros(1)
    return extreme * np.linspace(1.0, 1.0 / _CANDIDATES, _CANDIDATES)


def _clip_errors(histogram: Histogram, ends: Floats) -> tuple[Floats, Floats]:
    """Sum the squared distances of all values below, and above, each of the ends."""
    edges = histogram.edges
    centers = (edges[:-1] + edges[1:]) / 2.0
    moments = np.stack([histogram.counts, histogram.counts * centers])
    moments = np.concatenate([moments, (histogram.counts * (centers**2))[None]])
    upto = np.concatenate([np.zeros((3, 1)), np.cumsum(moments, axis=1)], axis=1)
    # A bin counts as a whole on the side of the end that its center is on.
    at = np.searchsorted(centers, ends)
    under, over = upto[:, at], upto[:, -1:] - upto[:, at]
    return _squares(under, ends), _squares(over, ends)


def _squares(moments: Floats, ends: Floats) -> Floats:
    """Compute the sum of (x - end)^2 from the sums of 1, x and x^2."""
    count, first, second = moments
    return np.asarray(np.maximum(second - 2.0 * ends * first + ends**2 * count, 0.0))


RANGE_ESTIMATORS: Mapping[str, Callable[[TensorStats, QuantSpec], RealRange]] = {
    "minmax": _minmax,
    "percentile": _percentile,
    "mse": _mse,
}
"""The estimators by name."""

DEFAULT_RANGE_ESTIMATOR = "mse"
