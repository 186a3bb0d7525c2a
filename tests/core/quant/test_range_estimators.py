"""Ranges stay within what was seen; percentile and mse cut off what does not pay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qhal.errors import OptionError
from qhal.ir.dtypes import DType
from qhal.quant.collectors import MAX_PICKS, StatsCollector, TensorStats
from qhal.quant.range_estimators import RANGE_ESTIMATORS, choose_range
from qhal.targets.spec import QuantSpec

INT8 = QuantSpec(DType.INT8)
SYMMETRIC = QuantSpec(DType.INT8, symmetric=True)

_POSITIVE = st.floats(2.0**-60, 2.0**60, width=32)  # so that no scaled value underflows
FINITE = st.one_of(st.just(0.0), _POSITIVE, _POSITIVE.map(lambda x: -x))
SAMPLES = st.lists(arrays(np.float32, st.integers(1, 40), elements=FINITE), min_size=1, max_size=8)


def _stats(*samples: np.ndarray) -> TensorStats:
    collector = StatsCollector()
    for sample in samples:
        collector.update(np.asarray(sample, np.float32))
    return collector.stats()


@pytest.mark.parametrize("observer", RANGE_ESTIMATORS)
@given(samples=SAMPLES)
def test_ranges_stay_within_what_was_seen(observer: str, samples: list[np.ndarray]) -> None:
    stats = _stats(*samples)
    for spec in (INT8, SYMMETRIC, QuantSpec(DType.INT16, symmetric=True)):
        low, high = choose_range(stats, spec, observer)
        assert stats.minimum <= low
        assert high <= stats.maximum
        assert low <= high


@pytest.mark.parametrize("observer", RANGE_ESTIMATORS)
def test_a_constant_is_its_own_range(observer: str) -> None:
    for value in (0.0, 3.0, -2.5):
        assert choose_range(_stats(np.full(9, value)), INT8, observer) == (value, value)


def test_an_unknown_estimator_lists_the_known() -> None:
    with pytest.raises(OptionError, match="minmax, percentile, mse"):
        choose_range(_stats(np.ones(3)), INT8, "entropy")


def test_percentile_cuts_a_lonely_outlier() -> None:
    rng = np.random.default_rng(5)
    values = [rng.uniform(0, 6, 50_000) for _ in range(100)]
    values[50][7] = 1000.0
    low, high = choose_range(_stats(*values), INT8, "percentile")
    assert low < 0.5
    assert 5.5 < high < 7


def _error(values: np.ndarray, low: float, high: float, spec: QuantSpec) -> float:
    """Mean squared error of quantizing with a range, without rounding the zero point."""
    low, high = min(low, 0.0), max(high, 0.0)
    if spec.symmetric:
        high = max(high, -low)
        low = -high
    width = (high - low) / 255
    q = np.clip(np.round((values - low) / width), 0, 255)
    return float(np.mean((q * width + low - values) ** 2))


DRAWS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "normal": lambda rng: rng.normal(size=MAX_PICKS),
    "laplace": lambda rng: rng.laplace(size=MAX_PICKS),
    "relu": lambda rng: np.maximum(rng.normal(size=MAX_PICKS), 0),
    "heavy": lambda rng: rng.standard_t(2, size=MAX_PICKS),
}


@pytest.mark.parametrize("spec", [INT8, SYMMETRIC])
@pytest.mark.parametrize("shape", DRAWS)
def test_mse_is_within_two_percent_of_the_best_clipping(spec: QuantSpec, shape: str) -> None:
    """On average: the best of many ranges for one draw also fits its rounding errors."""
    ratios = []
    for seed in range(6):
        values = DRAWS[shape](np.random.default_rng(seed)).astype(np.float32).astype(np.float64)
        chosen = _error(values, *choose_range(_stats(values), spec, "mse"), spec)
        shrink = np.linspace(0.02, 1, 60)
        lows, highs = shrink * min(values.min(), 0), shrink * values.max()
        ratios.append(chosen / min(_error(values, a, b, spec) for a in lows for b in highs))
    assert np.mean(ratios) <= 1.02


def test_mse_does_not_clip_what_sixteen_bits_hold() -> None:
    values = np.random.default_rng(5).normal(size=4000)
    stats = _stats(values)
    low, high = choose_range(stats, QuantSpec(DType.INT16, symmetric=True), "mse")
    assert max(-low, high) > 0.95 * max(-stats.minimum, stats.maximum)
