"""Covariances of what layers see, beside those of all patches, computed the plain way."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.ir.ops import Conv, DepthwiseConv, FullyConnected, Layout
from qhal.quant.covariance import (
    LARGEST_PATCH,
    SAMPLES,
    CovarianceCollector,
    ReceptiveField,
    receptive_field_of,
)

NHWC = Layout.NHWC
PADS, STRIDES, DILATIONS = (1, 0, 1, 2), (2, 1), (1, 2)
CONV = Conv(STRIDES, PADS, DILATIONS, groups=2)
FIELD = ReceptiveField(2, 3, (3, 2), STRIDES, PADS, DILATIONS)


def test_receptive_fields_do_not_depend_on_the_layout() -> None:
    assert receptive_field_of(CONV, (8, 3, 3, 2)) == FIELD
    nhwc = Conv(STRIDES, PADS, DILATIONS, groups=2, layout=NHWC)
    assert receptive_field_of(nhwc, (8, 3, 2, 3)) == FIELD
    depthwise = ReceptiveField(4, 1, (3, 2), STRIDES, PADS, DILATIONS)
    assert receptive_field_of(DepthwiseConv(STRIDES, PADS, DILATIONS, 2), (8, 1, 3, 2)) == depthwise
    nhwc_depthwise = DepthwiseConv(STRIDES, PADS, DILATIONS, 2, layout=NHWC)
    assert receptive_field_of(nhwc_depthwise, (1, 3, 2, 8)) == depthwise
    assert receptive_field_of(FullyConnected(), (5, 7)) == ReceptiveField(1, 7)


def test_large_and_trivial_layers_have_none() -> None:
    assert receptive_field_of(FullyConnected(), (5, LARGEST_PATCH)) is not None
    assert receptive_field_of(FullyConnected(), (5, LARGEST_PATCH + 1)) is None
    assert receptive_field_of(FullyConnected(), (5, 1)) is None


def patches(x: np.ndarray, field: ReceptiveField) -> np.ndarray:
    """All patches (groups, places, K)."""
    (top, left, bottom, right), (kh, kw) = field.pads, field.kernel
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    (sh, sw), (dh, dw) = field.strides, field.dilations
    found = [
        padded[n, :, y : y + dh * (kh - 1) + 1 : dh, z : z + dw * (kw - 1) + 1 : dw]
        for n in range(len(x))
        for y in range(0, padded.shape[2] - dh * (kh - 1), sh)
        for z in range(0, padded.shape[3] - dw * (kw - 1), sw)
    ]
    return np.stack(found).reshape(len(found), field.groups, -1).swapaxes(0, 1)


def test_covariance_of_patches() -> None:
    samples = np.random.default_rng(0).normal(size=(4, 2, 6, 7, 5)).astype(np.float32) + 1
    collector = CovarianceCollector(FIELD, len(samples))
    for sample in samples:
        collector.update(sample)
    every = np.concatenate([patches(sample, FIELD) for sample in samples], 1)
    expected = np.stack([np.cov(group.T, bias=True) for group in every])
    found = collector.covariance()
    assert found is not None
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_covariance_of_rows() -> None:
    samples = np.random.default_rng(0).normal(size=(6, 5, 4, 3)).astype(np.float32)
    collector = CovarianceCollector(ReceptiveField(1, 3), len(samples))
    for sample in samples:
        collector.update(sample)
    found = collector.covariance()
    assert found is not None
    np.testing.assert_allclose(found[0], np.cov(samples.reshape(-1, 3).T, bias=True), atol=1e-6)


def test_of_large_operands_a_part_is_taken_and_later_samples_are_not() -> None:
    samples = np.random.default_rng(0).normal(size=(SAMPLES, 4000, 2)).astype(np.float32)
    samples[..., 1] = samples[..., 0] / 2
    collector = CovarianceCollector(ReceptiveField(1, 2), SAMPLES)
    for sample in samples:
        collector.update(sample)
    found = collector.covariance()
    collector.update(1e6 * samples[0])
    assert found is not None
    np.testing.assert_array_equal(found, collector.covariance())
    np.testing.assert_allclose(found[0], [[1, 0.5], [0.5, 0.25]], atol=0.4)


@pytest.mark.parametrize(("samples", "known"), [(63, False), (64, True)])
def test_too_few_rows_tell_nothing(samples: int, known: bool) -> None:
    collector = CovarianceCollector(ReceptiveField(1, 8), samples)
    for sample in np.random.default_rng(0).normal(size=(samples, 1, 8)).astype(np.float32):
        collector.update(sample)
    assert (collector.covariance() is not None) is known
