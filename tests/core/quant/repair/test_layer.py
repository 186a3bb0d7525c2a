"""A fitted layer: integers, steps, and what its bias takes."""

from __future__ import annotations

import numpy as np

from qhal.ir.dtypes import DType
from qhal.quant.repair.layer import fit_layer
from qhal.targets.spec import PerAxis, QuantSpec
from tests.core.quant.repair.test_fit import seen

INT4 = QuantSpec(DType.INT4, PerAxis(), symmetric=True)


def test_the_bias_takes_the_mean_of_what_is_left() -> None:
    rng = np.random.default_rng(0)
    exact = rng.normal(2.0, 1.0, (300, 10)).astype(np.float32)
    quantized = exact + np.float32(0.3)
    weight = rng.normal(size=(1, 4, 10))
    fitted = fit_layer(weight, seen(exact, quantized), INT4, np.zeros((1, 4)))
    real = (fitted.codes * fitted.steps[..., np.newaxis])[0]
    error = exact @ weight[0].T - (quantized @ real.T + fitted.shift[0])
    np.testing.assert_allclose(error.mean(0), 0.0, atol=1e-4)


def test_what_is_left_of_the_error_is_told() -> None:
    rng = np.random.default_rng(1)
    exact = (rng.normal(size=(600, 30)) @ rng.normal(size=(30, 30))).astype(np.float32)
    weight = rng.normal(size=(1, 8, 30))
    fitted = fit_layer(weight, seen(exact, exact), INT4, np.zeros((1, 8)))
    assert 0.0 < fitted.left < 0.8


def test_weights_that_are_on_the_grid_lose_nothing() -> None:
    rng = np.random.default_rng(2)
    exact = rng.normal(size=(300, 6)).astype(np.float32)
    codes = rng.integers(-7, 8, (1, 3, 6)).astype(np.float64)
    codes[0, :, 0] = 7
    fitted = fit_layer(codes * 0.25, seen(exact, exact), INT4, np.zeros((1, 3)))
    np.testing.assert_allclose(
        fitted.codes * fitted.steps[..., np.newaxis], codes * 0.25, atol=1e-6
    )
