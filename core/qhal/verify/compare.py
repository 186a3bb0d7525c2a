"""Compare arrays as they stream by: memory does not grow with the number of samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, log10, sqrt

import numpy as np
import numpy.typing as npt

from qhal.errors import VerificationError
from qhal.ir.graph import Array
from qhal.metric import IDENTICAL_DB

SQNR_LIMIT_DB = IDENTICAL_DB
"""SQNR of equal arrays, whose ratio is infinite: beyond what float32 can express."""


@dataclass
class Difference:
    """Sums over all elements seen so far of a reference and another tensor.

    Attributes:
        elements: number of elements.
        signal: sum of squares of the reference.
        other: sum of squares of the other.
        product: sum of products.
        noise: sum of squared differences.
        max_abs: largest absolute difference.
        peak: largest absolute value of the reference.
    """

    elements: int = 0
    signal: float = 0.0
    other: float = 0.0
    product: float = 0.0
    noise: float = 0.0
    max_abs: float = 0.0
    peak: float = 0.0

    def add(self, reference: Array, other: Array) -> None:
        """Take in one pair; where the reference is not finite, nothing is compared.

        Raises:
            VerificationError: the shapes differ, or ``other`` is not finite where the
                reference is.
        """
        a, b = _finite_pair(reference, other)
        if not a.size:
            return
        error = a - b
        self.elements += a.size
        self.signal += float(np.dot(a, a))
        self.other += float(np.dot(b, b))
        self.product += float(np.dot(a, b))
        self.noise += float(np.dot(error, error))
        self.max_abs = max(self.max_abs, float(np.abs(error).max()))
        self.peak = max(self.peak, float(np.abs(a).max()))

    def merge(self, other: Difference) -> Difference:
        """Merge both."""
        return Difference(
            self.elements + other.elements,
            self.signal + other.signal,
            self.other + other.other,
            self.product + other.product,
            self.noise + other.noise,
            max(self.max_abs, other.max_abs),
            max(self.peak, other.peak),
        )

    @property
    def sqnr_db(self) -> float:
        """``10 log10(signal / noise)``, within plus and minus :data:`SQNR_LIMIT_DB`."""
        return decibels(self.signal, self.noise)

    @property
    def cosine(self) -> float:
        """Cosine of the angle between both; 1 if both are zero, 0 if one is."""
        norm = sqrt(self.signal) * sqrt(self.other)
        if norm:
            return max(-1.0, min(1.0, self.product / norm))
        return 1.0 if self.signal == self.other else 0.0


def decibels(signal: float, noise: float) -> float:
    """Return ``10 log10(signal / noise)``, within plus and minus :data:`SQNR_LIMIT_DB`."""
    if not noise:
        return SQNR_LIMIT_DB
    if not signal:
        return -SQNR_LIMIT_DB
    ratio = 10 * (log10(signal) - log10(noise))
    return max(-SQNR_LIMIT_DB, min(SQNR_LIMIT_DB, ratio))


def difference(reference: Array, other: Array) -> Difference:
    """Compare one pair of arrays."""
    found = Difference()
    found.add(reference, other)
    return found


def _finite_pair(
    reference: Array, other: Array
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    if reference.shape != other.shape:
        raise VerificationError(
            f"An output has shape {other.shape}; the float model's has {reference.shape}."
        )
    a, b = (x.astype(np.float64).ravel() for x in (reference, other))
    finite = np.isfinite(a)
    if not finite.all():
        a, b = a[finite], b[finite]
    if not np.isfinite(b).all():
        raise VerificationError(
            f"{np.count_nonzero(~np.isfinite(b))} of {b.size} elements of an output are NaN or "
            "Inf where the float model's are finite."
        )
    return a, b


@dataclass
class StepGap:
    """The difference of two runs of the same integer graph, in steps of the output's scale.

    Attributes:
        elements: number of elements.
        within_one: how many of them differ by at most one step.
        largest: largest difference in steps.
        total: sum of the differences, with their signs.
    """

    elements: int = 0
    within_one: int = 0
    largest: int = 0
    total: float = 0.0

    def add(self, reference: Array, other: Array, step: float | None = None) -> None:
        """Take in one pair of integer tensors, or of float tensors with their ``step``."""
        if step is None:
            signed = other.astype(np.int64) - reference.astype(np.int64)
        else:
            distance = other.astype(np.float64) - reference.astype(np.float64)
            signed = np.rint(distance / step).astype(np.int64)
        steps = np.abs(signed)
        self.total += float(signed.sum())
        self.elements += steps.size
        self.within_one += int(np.count_nonzero(steps <= 1))
        self.largest = max(self.largest, int(steps.max(initial=0)))

    @property
    def share_within_one(self) -> float:
        """Share of elements that differ by at most one step."""
        return self.within_one / self.elements if self.elements else 1.0

    @property
    def bias(self) -> float:
        """The mean difference: that of rounding is near zero."""
        return self.total / self.elements if self.elements else 0.0


@dataclass
class Spread:
    """How one tensor varies over samples, by Welford's updates; memory is that of one sample.

    Attributes:
        samples: seen so far.
        over_samples: sum of squared distances of every element from its mean over samples.
        inside: sum of squared distances from the mean of the sample.
    """

    samples: int = 0
    over_samples: float = 0.0
    inside: float = 0.0
    _mean: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def add(self, array: Array) -> None:
        """Take in one sample; what is not finite counts as zero."""
        values = np.nan_to_num(array.astype(np.float64), posinf=0, neginf=0)
        self.samples += 1
        if self.samples == 1:
            self._mean = np.zeros(values.shape)
        shift = values - self._mean
        self._mean = self._mean + shift / self.samples
        if self.samples > 1:
            self.over_samples += float(np.sum(shift * (values - self._mean)))
        self.inside += float(np.sum((values - values.mean()) ** 2)) if values.size else 0.0

    def distance(self, array: Array) -> float:
        """Return the squared distance of a sample from the mean."""
        values = np.nan_to_num(array.astype(np.float64), posinf=0, neginf=0)
        return float(np.sum((values - self._mean) ** 2))


@dataclass
class Extent:
    """The smallest and the largest element seen so far.

    Attributes:
        low: smallest.
        high: largest.
    """

    low: float = inf
    high: float = -inf

    def add(self, array: Array) -> None:
        """Take in one sample."""
        if array.size:
            self.low = min(self.low, float(array.min()))
            self.high = max(self.high, float(array.max()))

    @property
    def constant(self) -> bool:
        """True if all elements are the same."""
        return self.low == self.high


@dataclass(frozen=True)
class Hits:
    """How often a reference and another model are right on the same rows.

    Attributes:
        rows: rows with a label.
        reference: rows in which the reference is right.
        other: rows in which the other is right.
        lost: rows in which only the reference is right.
    """

    rows: int = 0
    reference: int = 0
    other: int = 0
    lost: int = 0

    def __add__(self, more: Hits) -> Hits:
        return Hits(
            self.rows + more.rows,
            self.reference + more.reference,
            self.other + more.other,
            self.lost + more.lost,
        )

    @property
    def gained(self) -> int:
        """Rows in which only the other is right."""
        return self.other - self.reference + self.lost

    @property
    def drop_pp(self) -> float:
        """By how many percentage points the other is right less often."""
        return 100.0 * (self.reference - self.other) / self.rows

    @property
    def drop_band_pp(self) -> tuple[float, float]:
        """The 95 % band of the drop over other rows like these, in percentage points.

        Both models see the same rows, so that only rows count in which one of them is right.
        Half a row is added to each of the four cases, which keeps the band honest where few or
        none of them differ (Agresti and Min 2005, "Simple improved confidence intervals for
        comparing matched proportions", Statistics in Medicine 24).
        """
        rows, difference = self.rows + 2, self.lost - self.gained
        variance = self.lost + self.gained + 1 - difference**2 / rows
        middle, reach = 100.0 * difference / rows, 100.0 * _NORMAL_95 * sqrt(variance) / rows
        return middle - reach, middle + reach


_NORMAL_95 = 1.96
_SHIFT_SHARE = 0.25


@dataclass
class Scores:
    """Classification results of two models on the same samples.

    Attributes:
        samples: rows seen.
        agree: rows in which both have the same largest class.
        top1: rows with a label, and in how many of them the largest class is the label.
        top5: the same for the five largest classes.
        shifted: rows whose largest class in the reference is (one below, one above) the label.
    """

    samples: int = 0
    agree: int = 0
    top1: Hits = Hits()
    top5: Hits = Hits()
    shifted: tuple[int, int] = (0, 0)

    def add(self, reference: Array, other: Array, labels: Array | None = None) -> None:
        """Take in scores of shape (N, classes), with labels (N,) if there are any."""
        self.samples += len(reference)
        self.agree += int(np.count_nonzero(reference.argmax(1) == other.argmax(1)))
        if labels is None:
            return
        self.top1 += _hits(reference, other, labels, 1)
        self.top5 += _hits(reference, other, labels, 5)
        below, above = (int(_right(reference, labels + k, 1).sum()) for k in (-1, 1))
        self.shifted = self.shifted[0] + below, self.shifted[1] + above

    @property
    def label_shift(self) -> int:
        """-1 or 1 if labels moved by that fit the reference far better than they are; else 0."""
        below, above = self.shifted
        if max(self.shifted) - self.top1.reference < _SHIFT_SHARE * max(1, self.top1.rows):
            return 0
        return -1 if below > above else 1


def _hits(reference: Array, other: Array, labels: Array, k: int) -> Hits:
    then, now = (_right(scores, labels, k) for scores in (reference, other))
    return Hits(len(then), int(then.sum()), int(now.sum()), int((then & ~now).sum()))


def _right(scores: Array, labels: Array, k: int) -> npt.NDArray[np.bool_]:
    """Mark the rows whose ``k`` largest scores hold the label; the first of equal ones counts."""
    best = np.argsort(-scores.astype(np.float64), axis=1, kind="stable")[:, :k]
    return np.asarray((best == labels.reshape(-1, 1)).any(1), np.bool_)


def classes_of(shape: tuple[int, ...]) -> int:
    """Return the number of classes if a tensor of this shape looks like class scores, else 0.

    Scores are (N, C), or (N, C, 1, 1) and (N, 1, 1, C) where pooling left dimensions of 1.
    """
    wide = [size for size in shape[1:] if size > 1]
    return wide[0] if len(shape) in (2, 4) and len(wide) == 1 else 0
