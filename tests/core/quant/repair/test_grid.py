"""Few-bit weights lose less in a layer's outputs than weights rounded to nearest."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qhal.ir.dtypes import DType
from qhal.quant.repair.grid import damped, fit_grid, loss, nearest, widest_steps
from qhal.targets.spec import PerAxis, QuantSpec

INT4 = QuantSpec(DType.INT4, PerAxis(), symmetric=True)
TERNARY = QuantSpec(DType.INT8, PerAxis(), symmetric=True, narrow_range=True, bits=2)
NONE = np.zeros((1, 6))


def shared(rng: np.random.Generator, size: int, groups: int = 1) -> np.ndarray:
    mixed = rng.normal(size=(groups, size, size)) + 2 * rng.normal(size=(groups, size, 1))
    return damped(mixed @ mixed.swapaxes(1, 2) / size)


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 4]))
def test_outputs_are_never_further_away(seed: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    spec = QuantSpec(DType.INT8, PerAxis(), symmetric=True, bits=bits)
    weight, hessian = rng.normal(size=(2, 6, 20)), shared(rng, 20, 2)
    codes, steps = fit_grid(weight, hessian, spec, np.zeros((2, 6)))
    plain = widest_steps(weight, spec)
    before = loss(nearest(weight, plain, spec), plain, weight, hessian)
    assert loss(codes, steps, weight, hessian) <= before
    assert codes.min() >= spec.qmin and codes.max() <= spec.qmax
    assert np.array_equal(codes, np.rint(codes))


def test_no_single_integer_can_be_better() -> None:
    """Coordinate descent ends where every change of one integer by one step is a loss."""
    rng = np.random.default_rng(5)
    weight, hessian = rng.normal(size=(1, 1, 6)), shared(rng, 6)
    codes, steps = fit_grid(weight, hessian, INT4, NONE[:, :1])
    least = loss(codes, steps, weight, hessian)
    for k, change in itertools.product(range(6), (-1, 1)):
        other = codes.copy()
        other[0, 0, k] = np.clip(other[0, 0, k] + change, INT4.qmin, INT4.qmax)
        assert loss(other, steps, weight, hessian) >= least - 1e-12


def test_few_weights_come_near_the_best_of_all() -> None:
    """Against every choice of ternary weights, each with its best step."""
    rng = np.random.default_rng(7)
    weight, hessian = rng.normal(size=(1, 1, 6)), shared(rng, 6)
    codes, steps = fit_grid(weight, hessian, TERNARY, NONE[:, :1])
    best = np.inf
    for choice in itertools.product((-1.0, 0.0, 1.0), repeat=6):
        q = np.array(choice)[np.newaxis, np.newaxis]
        seen = q @ hessian
        if (scale := float((seen * q).sum())) > 0:
            step = max(float((seen * weight).sum()) / scale, 0.0)
            best = min(best, loss(q, np.full((1, 1), step), weight, hessian))
    assert loss(codes, steps, weight, hessian) <= 1.25 * best


def test_steps_keep_to_the_least_that_is_allowed() -> None:
    rng = np.random.default_rng(9)
    weight, hessian = rng.normal(size=(1, 6, 20)), shared(rng, 20)
    least = np.full((1, 6), 0.9)
    _, steps = fit_grid(weight, hessian, INT4, least)
    assert (steps >= least).all()


def test_outputs_without_weights_have_a_step() -> None:
    weight = np.random.default_rng(1).normal(size=(1, 6, 20))
    weight[0, 2] = 0.0
    codes, steps = fit_grid(weight, shared(np.random.default_rng(2), 20), INT4, NONE)
    assert not codes[0, 2].any()
    assert (steps > 0).all()


def test_inputs_that_never_vary_are_rounded_to_nearest() -> None:
    weight = np.random.default_rng(4).normal(size=(1, 6, 5))
    codes, steps = fit_grid(weight, damped(np.zeros((1, 5, 5))), INT4, NONE)
    error = np.abs(codes * steps[..., np.newaxis] - weight)
    assert error.max() <= steps.max() * 1.01
    assert loss(codes, steps, weight, np.eye(5)[np.newaxis]) == pytest.approx(
        float(np.square(error).sum())
    )
