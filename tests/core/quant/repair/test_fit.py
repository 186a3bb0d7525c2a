"""Least squares makes up for errors of the inputs, as far as other samples confirm it."""

from __future__ import annotations

import numpy as np

from qhal.quant.covariance import ReceptiveField
from qhal.quant.repair.fit import RIDGES, fit_weights
from qhal.quant.repair.moments import Moments, MomentsCollector, moments_of


def seen(exact: np.ndarray, quantized: np.ndarray) -> tuple[Moments, Moments, Moments]:
    """Of rows (samples, K): over all, and over each half."""
    halves = [MomentsCollector(ReceptiveField(1, exact.shape[1]), len(exact)) for _ in range(2)]
    for index, pair in enumerate(zip(exact, quantized, strict=True)):
        halves[index % 2].update(*(row[np.newaxis] for row in pair))
    return moments_of(*halves), moments_of(halves[0]), moments_of(halves[1])


def centered_error(weight: np.ndarray, fitted: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    error = x @ weight.T - y @ fitted.T
    return float(np.square(error - error.mean(0)).sum())


def test_what_a_layer_in_front_loses_is_made_up_for() -> None:
    """A channel that came out at half its size is doubled again."""
    rng = np.random.default_rng(0)
    exact = rng.normal(size=(400, 8)).astype(np.float32)
    quantized = exact * np.where(np.arange(8) == 2, 0.5, 1.0).astype(np.float32)
    weight = rng.normal(size=(1, 5, 8))
    whole, one, other = seen(exact, quantized)
    fitted = fit_weights(weight, whole, (one, other))
    np.testing.assert_allclose(fitted[0, :, 2], 2 * weight[0, :, 2], rtol=0.02)


def test_other_samples_are_closer_too() -> None:
    rng = np.random.default_rng(1)
    mixed = rng.normal(size=(12, 12))
    exact = (rng.normal(size=(800, 12)) @ mixed).astype(np.float32)
    noise = (rng.normal(size=(800, 4)) @ rng.normal(size=(4, 12))).astype(np.float32)
    weight = rng.normal(size=(1, 6, 12))
    whole, one, other = seen(exact[:400], (exact + noise)[:400])
    fitted = fit_weights(weight, whole, (one, other))
    held = exact[400:].astype(np.float64), (exact + noise)[400:].astype(np.float64)
    assert centered_error(weight[0], fitted[0], *held) < centered_error(weight[0], weight[0], *held)


def test_with_too_few_samples_weights_stay_where_they_are() -> None:
    """Twelve rows of forty inputs can be explained by anything."""
    rng = np.random.default_rng(2)
    exact = rng.normal(size=(12, 40)).astype(np.float32)
    quantized = exact + rng.normal(0, 0.05, exact.shape).astype(np.float32)
    weight = rng.normal(size=(1, 3, 40))
    whole, one, other = seen(exact, quantized)
    fitted = fit_weights(weight, whole, (one, other))
    assert np.abs(fitted - weight).max() < 0.1 * np.abs(weight).max()
    assert RIDGES[-1] == max(RIDGES)


def test_a_layer_that_sees_nothing_keeps_its_weights() -> None:
    weight = np.random.default_rng(3).normal(size=(1, 3, 4))
    nothing = np.zeros((20, 4), np.float32)
    whole, one, other = seen(nothing, nothing)
    np.testing.assert_allclose(fit_weights(weight, whole, (one, other)), weight)
