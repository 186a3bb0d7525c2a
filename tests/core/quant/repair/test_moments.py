"""Moments are those of the patches that a layer multiplies."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.quant.covariance import ReceptiveField
from qhal.quant.repair.moments import MomentsCollector, moments_of

FC = ReceptiveField(1, 6)
CONV = ReceptiveField(2, 3, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1))


def streams(rng: np.random.Generator, shape: tuple[int, ...], count: int) -> list[np.ndarray]:
    exact = rng.normal(1.0, 2.0, (count, *shape)).astype(np.float32)
    return [exact, exact + rng.normal(0.0, 0.3, exact.shape).astype(np.float32)]


def test_of_a_fully_connected_layer_they_are_those_of_its_rows() -> None:
    exact, quantized = streams(np.random.default_rng(0), (4, 6), 30)
    collector = MomentsCollector(FC, 30)
    for pair in zip(exact, quantized, strict=True):
        collector.update(*pair)
    found = moments_of(collector)
    floats, here = exact.reshape(-1, 6), quantized.reshape(-1, 6)
    assert found.rows == 120
    np.testing.assert_allclose(found.mean_float[0], floats.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.mean[0], here.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.covariance[0], np.cov(here.T, bias=True), atol=1e-4)
    both = np.cov(floats.T, here.T, bias=True)[:6, 6:]
    np.testing.assert_allclose(found.cross[0], both, atol=1e-4)


def test_of_a_convolution_there_is_one_for_each_group() -> None:
    exact, quantized = streams(np.random.default_rng(1), (1, 6, 5, 5), 8)
    collector = MomentsCollector(CONV, 8)
    for pair in zip(exact, quantized, strict=True):
        collector.update(*pair)
    found = moments_of(collector)
    assert found.covariance.shape == (2, 27, 27)
    # The middle tap of the first channel of the second group sees that channel itself.
    tap = 4
    assert found.mean[1, tap] == pytest.approx(quantized[:, 0, 3].mean(), abs=1e-5)


def test_halves_join_to_the_whole() -> None:
    exact, quantized = streams(np.random.default_rng(2), (4, 6), 20)
    whole, halves = MomentsCollector(FC, 20), [MomentsCollector(FC, 20) for _ in range(2)]
    for index, pair in enumerate(zip(exact, quantized, strict=True)):
        whole.update(*pair)
        halves[index % 2].update(*pair)
    one, other = moments_of(whole), moments_of(*halves)
    assert one.rows == other.rows
    np.testing.assert_allclose(one.covariance, other.covariance, atol=1e-5)
    np.testing.assert_allclose(one.cross, other.cross, atol=1e-5)


def test_about_zero_a_mean_counts_as_error() -> None:
    exact, quantized = streams(np.random.default_rng(3), (4, 6), 20)
    collector = MomentsCollector(FC, 20)
    for pair in zip(exact, quantized, strict=True):
        collector.update(*pair)
    found = moments_of(collector).about_zero()
    rows = quantized.reshape(-1, 6).astype(np.float64)
    np.testing.assert_allclose(found.covariance[0], rows.T @ rows / len(rows), rtol=1e-4)
    assert not found.mean.any() and not found.mean_float.any()


def test_another_order_reorders_everything() -> None:
    exact, quantized = streams(np.random.default_rng(4), (4, 6), 20)
    order = np.array([3, 1, 0, 2, 5, 4])
    here, there = MomentsCollector(FC, 20), MomentsCollector(FC, 20)
    for floats, own in zip(exact, quantized, strict=True):
        here.update(floats, own)
        there.update(floats[:, order], own[:, order])
    moved, wanted = moments_of(here).in_order(order), moments_of(there)
    np.testing.assert_allclose(moved.mean, wanted.mean, atol=1e-6)
    np.testing.assert_allclose(moved.mean_float, wanted.mean_float, atol=1e-6)
    np.testing.assert_allclose(moved.covariance, wanted.covariance, atol=1e-5)
    np.testing.assert_allclose(moved.cross, wanted.cross, atol=1e-5)
