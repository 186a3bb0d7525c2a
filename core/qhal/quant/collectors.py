"""Statistics collectors: what calibration remembers of one tensor.

All range estimators (:mod:`qhal.quant.range_estimators`) derive from one :class:`TensorStats`, so
that one pass over the data feeds them all and the statistics can be cached without knowing which
estimator will be asked.

The exact extremes come from every element. The histogram comes from a deterministic strided
subset of them, which is what makes a pass cheap; its bins have a power-of-two width that doubles
as the range grows. Merging two bins is then exact, and the result does not depend on the order of
the samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, frexp, isfinite

import numpy as np
import numpy.typing as npt

from qhal.ir.graph import Array

MAX_BINS = 2048
"""Bins of a histogram; between half as many and this many are in use."""
MAX_PICKS = 4096
"""Elements of one tensor and one sample that enter the histogram."""

_PENDING = 2 * MAX_PICKS
_MIN_EXPONENT = -100  # bins narrower than 2^-100 would need a factor that float32 lacks
_MAX_INDEX = 1 << 23  # up to here float32 holds every integer, so that floor() is exact
_OFFSET_STRIDE = 40503  # odd, near 2^16 / golden ratio: successive samples pick other elements

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts over bins of equal, power-of-two width.

    Attributes:
        exponent: a bin is ``2**exponent`` wide.
        first: bin j covers ``[(first + j) * 2**exponent, (first + j + 1) * 2**exponent)``.
        counts: int64 (bins,).
    """

    exponent: int
    first: int
    counts: npt.NDArray[np.int64]

    @property
    def width(self) -> float:
        """Width of a bin, in the tensor's unit."""
        return 2.0**self.exponent

    @property
    def edges(self) -> Floats:
        """Borders of the bins, float64 (bins + 1,)."""
        return np.asarray((self.first + np.arange(len(self.counts) + 1)) * self.width, np.float64)

    @property
    def total(self) -> int:
        """Number of values counted."""
        return int(self.counts.sum())


@dataclass(frozen=True, eq=False)
class TensorStats:
    """Statistics of one tensor over the calibration samples.

    Attributes:
        minimum: smallest element seen, exact.
        maximum: largest element seen, exact.
        histogram: distribution of a strided subset of the elements; its bins span the extremes.
        channel_mean: mean of each channel, float64 (C,), where it was asked for.
        channel_extremes: smallest and largest element of each channel, float64 (2, C), where
            they were asked for.
        other_means: axis -> mean along it, where readers take other axes for their channels.
        other_readers: node that reads the tensor -> such an axis.
        covariances: receptive field of a layer, as text -> covariances of what it holds
            (groups, K, K).
    """

    minimum: float
    maximum: float
    histogram: Histogram
    channel_mean: Floats | None = None
    channel_extremes: Floats | None = None
    covariances: Mapping[str, Floats] = field(default_factory=dict)
    other_means: Mapping[int, Floats] = field(default_factory=dict)
    other_readers: Mapping[str, int] = field(default_factory=dict)

    def mean_for(self, node: str) -> Floats | None:
        """Return the mean of each channel, as the node that reads the tensor counts them."""
        axis = self.other_readers.get(node)
        return self.channel_mean if axis is None else self.other_means.get(axis)

    @property
    def is_finite(self) -> bool:
        """False if the tensor held NaN or Inf; nothing but the extremes is known then."""
        return isfinite(self.minimum) and isfinite(self.maximum)


class StatsCollector:
    """Collects the statistics of one tensor, sample by sample, in constant memory."""

    def __init__(
        self,
        channel_axis: int | None = None,
        extremes: bool = False,
        other_axes: Sequence[int] = (),
    ) -> None:
        """Start without data.

        Args:
            channel_axis: the axis whose means are wanted, or None.
            extremes: the extremes along that axis are wanted too.
            other_axes: further axes whose means are wanted.
        """
        self._other_sums: dict[int, Floats] = {}
        self._other_axes = tuple(other_axes)
        self._axis = channel_axis
        self._extremes = extremes
        self._samples = 0
        self._channel_sum: Floats | None = None
        self._channel_extremes: Floats | None = None
        self._low, self._high = np.inf, -np.inf
        self._histogram = Histogram(_MIN_EXPONENT, 0, np.zeros(0, np.int64))
        self._pending = np.empty(0, np.float32)
        self._used = 0

    def update(self, values: Array) -> None:
        """Take the tensor's value in one more sample."""
        flat = np.asarray(values, np.float32).reshape(-1)
        if flat.size > MAX_PICKS:
            self._widen(flat)
            flat = _strided_picks(flat, self._samples)
        self._samples += 1
        self._append(flat)
        if self._axis is not None:
            means = _channel_means(values, self._axis)
            self._channel_sum = means if self._channel_sum is None else self._channel_sum + means
            if self._extremes:
                self._widen_channels(_channel_extremes(values, self._axis))
        for axis in self._other_axes:
            self._other_sums[axis] = self._other_sums.get(axis, 0.0) + _channel_means(values, axis)

    def stats(self) -> TensorStats:
        """Return the statistics so far; at least one sample must have been non-empty."""
        self._flush()
        mean = None if self._channel_sum is None else self._channel_sum / self._samples
        extremes = self._channel_extremes
        others = {axis: total / self._samples for axis, total in self._other_sums.items()}
        low, high = float(self._low), float(self._high)
        return TensorStats(low, high, self._histogram, mean, extremes, other_means=others)

    def _append(self, picks: npt.NDArray[np.float32]) -> None:
        if self._used + picks.size > self._pending.size:
            self._flush()
            if self._pending.size < picks.size:
                self._pending = np.empty(min(_PENDING, 32 * picks.size), np.float32)
        self._pending[self._used : self._used + picks.size] = picks
        self._used += picks.size

    def _flush(self) -> None:
        """Count what is pending.

        The chunk is counted at its final bin width: it was widened before by the whole tensor
        or is widened here.
        """
        if not self._used:
            return
        chunk = self._pending[: self._used]
        self._used = 0
        self._widen(chunk)
        if not (isfinite(self._low) and isfinite(self._high)):
            return
        bins = frame(self._low, self._high)
        self._histogram = _add_counts(_reframe(self._histogram, *bins), chunk)

    def _widen_channels(self, found: Floats) -> None:
        seen = found if self._channel_extremes is None else self._channel_extremes
        low, high = np.minimum(seen[0], found[0]), np.maximum(seen[1], found[1])
        self._channel_extremes = np.stack((low, high))

    def _widen(self, flat: npt.NDArray[np.float32]) -> None:
        # np.minimum and np.maximum, unlike min and max, keep a NaN for good.
        self._low = float(np.minimum(self._low, np.minimum.reduce(flat)))
        self._high = float(np.maximum(self._high, np.maximum.reduce(flat)))


def frame(low: float, high: float) -> tuple[int, int, int]:
    """Return the bins that span a range: exponent, first bin and number of bins.

    The exponent grows, and never shrinks, as the range grows.
    """
    reach = max(high - low, 0.0) / MAX_BINS
    exponent = max(_MIN_EXPONENT, frexp(reach)[1] - 1 if reach else _MIN_EXPONENT)
    while True:
        scale = 2.0**-exponent
        first, last = floor(low * scale), floor(high * scale)
        if last - first < MAX_BINS and max(-first, last) < _MAX_INDEX:
            return exponent, first, last - first + 1
        exponent += 1


def _strided_picks(flat: npt.NDArray[np.float32], sample: int) -> npt.NDArray[np.float32]:
    """Pick at most MAX_PICKS elements; an odd stride avoids always hitting the same channels."""
    stride = ceil(flat.size / MAX_PICKS) | 1
    return flat[(sample * _OFFSET_STRIDE) % stride :: stride]


def _reframe(histogram: Histogram, exponent: int, first: int, bins: int) -> Histogram:
    """Move the counts to bins at least as wide that span at least as much."""
    if (histogram.exponent, histogram.first, len(histogram.counts)) == (exponent, first, bins):
        return histogram
    merged = histogram.first + np.arange(len(histogram.counts), dtype=np.int64)
    merged >>= exponent - histogram.exponent
    counts = np.zeros(bins, np.int64)
    np.add.at(counts, merged - first, histogram.counts)
    return Histogram(exponent, first, counts)


def _add_counts(histogram: Histogram, chunk: npt.NDArray[np.float32]) -> Histogram:
    scaled = chunk * np.float32(2.0**-histogram.exponent)
    np.floor(scaled, out=scaled)
    scaled -= np.float32(histogram.first)
    counts = np.bincount(scaled.astype(np.intp), minlength=len(histogram.counts))
    return Histogram(histogram.exponent, histogram.first, histogram.counts + counts)


def _channel_means(values: Array, axis: int) -> Floats:
    """Average over all axes but one, float64 (C,)."""
    channels = values.shape[axis]
    if axis == values.ndim - 1:
        rows = np.asarray(values, np.float32).reshape(-1, channels)
        return np.asarray(rows.mean(axis=0, dtype=np.float64))
    outer = int(np.prod(values.shape[:axis]))
    planes = np.asarray(values, np.float32).reshape(outer, channels, -1)
    return np.asarray(planes.mean(axis=2).mean(axis=0, dtype=np.float64))


def _channel_extremes(values: Array, axis: int) -> Floats:
    """Find the smallest and largest element over all axes but one, float64 (2, C)."""
    others = tuple(i for i in range(values.ndim) if i != axis)
    real = np.asarray(values, np.float32)
    return np.stack((real.min(axis=others), real.max(axis=others))).astype(np.float64)
