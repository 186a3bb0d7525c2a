"""Statistics are exact where they say so, bounded, and independent of the order of samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qhal.quant.collectors import (
    MAX_BINS,
    MAX_PICKS,
    Histogram,
    StatsCollector,
    TensorStats,
    frame,
)

_POSITIVE = st.floats(2.0**-60, 2.0**60, width=32)  # so that no scaled value underflows
FINITE = st.one_of(st.just(0.0), _POSITIVE, _POSITIVE.map(lambda x: -x))
SAMPLES = st.lists(arrays(np.float32, st.integers(1, 40), elements=FINITE), min_size=1, max_size=8)


def _stats(*samples: np.ndarray, axis: int | None = None) -> TensorStats:
    collector = StatsCollector(axis)
    for sample in samples:
        collector.update(np.asarray(sample, np.float32))
    return collector.stats()


@given(SAMPLES)
def test_small_tensors_are_counted_completely(samples: list[np.ndarray]) -> None:
    stats = _stats(*samples)
    values = np.concatenate(samples).astype(np.float64)
    assert (stats.minimum, stats.maximum) == (values.min(), values.max())
    histogram = stats.histogram
    assert histogram.total == values.size
    assert len(histogram.counts) <= MAX_BINS
    index = np.floor(values * 2.0**-histogram.exponent).astype(np.int64) - histogram.first
    want = np.bincount(index, minlength=len(histogram.counts))
    np.testing.assert_array_equal(histogram.counts, want)


@given(SAMPLES, st.randoms())
def test_the_order_of_samples_does_not_matter(samples: list[np.ndarray], random: object) -> None:
    shuffled = list(samples)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = _stats(*samples).histogram, _stats(*shuffled).histogram
    assert (one.exponent, one.first) == (other.exponent, other.first)
    np.testing.assert_array_equal(one.counts, other.counts)


@given(FINITE, FINITE, FINITE)
def test_the_bins_span_the_range_and_never_get_narrower(a: float, b: float, c: float) -> None:
    low, high = min(a, b), max(a, b)
    exponent, first, bins = frame(low, high)
    assert 1 <= bins <= MAX_BINS
    assert first * 2.0**exponent <= low
    assert high < (first + bins) * 2.0**exponent
    assert frame(min(low, c), max(high, c))[0] >= exponent


def test_the_extremes_of_large_tensors_are_exact() -> None:
    values = np.random.default_rng(5).normal(size=(1, 16, 64, 64)).astype(np.float32)
    values[0, 3, 17, 5], values[0, 9, 60, 1] = 50.0, -40.0
    stats = _stats(values, values / 2)
    assert (stats.minimum, stats.maximum) == (-40.0, 50.0)
    assert MAX_PICKS < stats.histogram.total <= 2 * MAX_PICKS
    edges = stats.histogram.edges
    assert edges[0] <= -40.0 < 50.0 < edges[-1]


def test_the_picks_of_large_tensors_see_every_channel() -> None:
    values = np.repeat(np.arange(64, dtype=np.float32), 56 * 56).reshape(1, 64, 56, 56)
    channels_last = np.ascontiguousarray(values.transpose(0, 2, 3, 1))
    for tensor in (values, channels_last):
        histogram = _stats(tensor).histogram
        counts = histogram.counts[histogram.counts > 0]
        assert len(counts) == 64
        assert counts.max() < 1.2 * counts.mean()


@pytest.mark.parametrize("size", [5, 3 * MAX_PICKS])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_inf_are_remembered(size: int, value: float) -> None:
    values = np.zeros(size, np.float32)
    values[-1] = value
    stats = _stats(np.zeros(size), values, np.ones(size))
    assert not stats.is_finite
    assert _stats(np.zeros(size), np.ones(size)).is_finite


def test_channel_means_are_over_all_samples() -> None:
    samples = np.random.default_rng(5).normal(size=(5, 1, 3, 8, 9)).astype(np.float32)
    by_plane = _stats(*samples, axis=1).channel_mean
    by_feature = _stats(*samples, axis=3).channel_mean
    assert by_plane is not None
    assert by_feature is not None
    np.testing.assert_allclose(by_plane, samples.mean((0, 1, 3, 4)), atol=1e-6)
    np.testing.assert_allclose(by_feature, samples.mean((0, 1, 2, 3)), atol=1e-6)


def test_channel_extremes_are_over_all_samples() -> None:
    samples = np.random.default_rng(0).normal(0, 1, (3, 2, 5, 4, 3)).astype(np.float32)
    collector = StatsCollector(1, extremes=True)
    for sample in samples:
        collector.update(sample)
    found = collector.stats().channel_extremes
    assert found is not None
    np.testing.assert_array_equal(found, [samples.min((0, 1, 3, 4)), samples.max((0, 1, 3, 4))])


def test_memory_does_not_grow_with_samples() -> None:
    collector = StatsCollector()
    for i in range(50):
        collector.update(np.full(20_000, i, np.float32))
    assert len(collector.stats().histogram.counts) <= MAX_BINS


def test_histograms_state_their_edges() -> None:
    histogram = Histogram(-1, -2, np.array([1, 0, 4], np.int64))
    assert histogram.edges.tolist() == [-1.0, -0.5, 0.0, 0.5]
    assert (histogram.width, histogram.total) == (0.5, 5)
