"""GPTQ leaves outputs closer than rounding each weight to its nearest integer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qhal.decisions import Code
from qhal.ir.dtypes import DType
from qhal.ir.ops import Conv, DepthwiseConv, FullyConnected, Layout, Op
from qhal.quant.arithmetic import dequantize, quantize
from qhal.quant.gptq import output_error, round_with_gptq
from qhal.quant.weights import WeightTask, quantize_weights
from qhal.targets.spec import PerAxis, PerGroup, QuantSpec

INT8 = QuantSpec(DType.INT8, PerAxis(), symmetric=True, narrow_range=True)
SEEDS = st.integers(0, 2**32 - 1)


def covariance(rng: np.random.Generator, groups: int, size: int) -> np.ndarray:
    """Of inputs that have much in common."""
    mixed = rng.normal(size=(groups, size, size)) + 3 * rng.normal(size=(groups, size, 1))
    return mixed @ mixed.swapaxes(1, 2) / size


def whole(column: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    codes = np.rint(column)
    return codes, codes


@given(SEEDS)
def test_alone_each_weight_goes_to_its_nearest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(2, 3, 5)) * 10
    alone = np.stack([np.diag(rng.uniform(0.1, 4, 5)), np.zeros((5, 5))])
    np.testing.assert_array_equal(round_with_gptq(weight, alone, whole), np.rint(weight))


@given(SEEDS)
def test_outputs_are_closer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight, shared = rng.normal(size=(2, 16, 12)) * 10, covariance(rng, 2, 12)
    done = round_with_gptq(weight, shared, whole)
    assert output_error(done - weight, shared) < output_error(np.rint(weight) - weight, shared)


def test_many_inputs_are_the_algorithm_of_the_paper() -> None:
    """GPTQ's algorithm 1 without blocks."""
    rng = np.random.default_rng(3)
    weight, shared = rng.normal(size=(2, 5, 83)) * 10, covariance(rng, 2, 83)
    variance = np.trace(shared, axis1=1, axis2=2) / 83
    rest, codes = weight.copy(), np.empty_like(weight)
    for group in range(2):
        damped = shared[group] + 0.05 * variance[group] * np.eye(83)
        upper = np.linalg.cholesky(np.linalg.inv(damped)).T
        for k in range(83):
            codes[group, :, k] = np.rint(rest[group, :, k])
            error = (rest[group, :, k] - codes[group, :, k]) / upper[k, k]
            rest[group, :, k:] -= np.outer(error, upper[k, k:])
    np.testing.assert_array_equal(round_with_gptq(weight, shared, whole), codes)


def test_the_error_is_the_variance_of_the_outputs() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(1000, 3)) @ rng.normal(size=(3, 3))
    error = rng.normal(size=(1, 2, 3))
    shared = np.cov(inputs.T, bias=True)[np.newaxis]
    expected = (inputs @ error[0].T).var(0).sum()
    assert output_error(error, shared) == pytest.approx(expected)


# --- weights of layers ------------------------------------------------------------


def task(op: Op, weight: np.ndarray, shared: np.ndarray | None, **more: Any) -> WeightTask:
    given_: dict[str, Any] = {
        "node": "layer",
        "bias": None,
        "spec": INT8,
        "bias_dtype": None,
        "source": None,
        "result": None,
        "channel_mean": None if shared is None else _means(op, shared),
    }
    return WeightTask(op=op, weight=weight, covariance=shared, **{**given_, **more})


def _means(op: Op, shared: np.ndarray) -> np.ndarray:
    """Zero for each input channel."""
    taps = 1 if isinstance(op, FullyConnected) else 6
    return np.zeros(shared.shape[0] * shared.shape[1] // taps, np.float32)


def stored(op: Op, weight: np.ndarray, shared: np.ndarray | None, **more: Any) -> np.ndarray:
    return quantize_weights(task(op, weight, shared, **more)).weight


BOTH = [
    (Conv, (8, 3, 3, 2), {"groups": 2}, 2, 18, lambda w: np.moveaxis(w, 1, -1)),
    (DepthwiseConv, (8, 1, 3, 2), {"multiplier": 2}, 4, 6, lambda w: np.moveaxis(w, 0, -1)),
]


@pytest.mark.parametrize(("kind", "shape", "more", "groups", "size", "turn"), BOTH)
def test_layouts_do_not_matter(
    kind: Callable[..., Op],
    shape: tuple[int, ...],
    more: dict[str, Any],
    groups: int,
    size: int,
    turn: Callable[[np.ndarray], np.ndarray],
) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=shape).astype(np.float32)
    shared = covariance(rng, groups, size)
    window = ((1, 1), (0, 0, 0, 0), (1, 1))
    nchw = kind(*window, **more)
    nhwc = kind(*window, **more, layout=Layout.NHWC)
    codes = stored(nchw, weight, shared)
    np.testing.assert_array_equal(stored(nhwc, turn(weight), shared), turn(codes))
    assert not np.array_equal(codes, stored(nchw, weight, None))


@pytest.mark.parametrize(
    "spec",
    [
        INT8,
        QuantSpec(DType.INT4, PerGroup(4), symmetric=True, narrow_range=True),
        QuantSpec(DType.NF4, PerGroup(4), symmetric=True),
    ],
    ids=str,
)
def test_a_layer_is_rounded_with_gptq_and_says_so(spec: QuantSpec) -> None:
    rng = np.random.default_rng(0)
    weight, shared = rng.normal(size=(6, 12)).astype(np.float32), covariance(rng, 1, 12)
    result = quantize_weights(task(FullyConnected(), weight, shared, spec=spec))
    assert result.weight_params is not None
    plain = quantize(weight, result.weight_params)
    left, before = (
        output_error(
            (dequantize(codes, result.weight_params) - weight).astype(np.float64)[np.newaxis],
            shared,
        )
        for codes in (result.weight, plain)
    )
    assert left < before
    if spec.narrow_range:
        assert result.weight.min() >= -spec.dtype.qmax
    [decision] = result.decisions
    assert decision.code is Code.ROUNDED_WITH_GPTQ
    assert f"the output error is {100 * left / before:.0f} % of" in decision.sentence


def test_weights_that_vary_alone_keep_their_nearest_integers() -> None:
    weight = np.random.default_rng(0).normal(size=(6, 12)).astype(np.float32)
    result = quantize_weights(task(FullyConnected(), weight, np.eye(12)[np.newaxis]))
    np.testing.assert_array_equal(result.weight, stored(FullyConnected(), weight, None))
    assert result.decisions == ()


def test_without_a_bias_the_mean_of_the_inputs_counts() -> None:
    rng = np.random.default_rng(0)
    weight, mean = rng.normal(size=(6, 12)).astype(np.float32), np.ones(12, np.float32)
    shared, facts = np.eye(12)[np.newaxis], {"channel_mean": mean}
    separate = quantize_weights(task(FullyConnected(), weight, shared, **facts))
    bias = np.zeros(6, np.float32)
    taken = quantize_weights(task(FullyConnected(), weight, shared, bias=bias, **facts))
    assert separate.weight_params is not None

    params = separate.weight_params

    def mean_error(codes: np.ndarray) -> float:
        return float(np.abs((dequantize(codes, params) - weight) @ mean).max())

    np.testing.assert_array_equal(taken.weight, quantize(weight, separate.weight_params))
    assert mean_error(separate.weight) < mean_error(taken.weight) / 2


def test_without_means_weights_go_to_their_nearest() -> None:
    weight, shared = np.ones((6, 12), np.float32), covariance(np.random.default_rng(0), 1, 12)
    result = quantize_weights(task(FullyConnected(), weight, shared, channel_mean=None))
    assert result.decisions == ()
