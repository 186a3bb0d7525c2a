"""GPTQ: round weights one input after the other, so that later ones make up for earlier ones.

What counts is the error of a layer's *outputs*, ``E[((Wq - W) (x - E[x]))^2]`` (its mean is taken
from the bias). Rounded one input at a time, the error of each weight is handed on to the weights
of the inputs that vary with it, in proportion to the Cholesky factor of the inverse Hessian:
Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", algorithm 1. The Hessian is here that of centered inputs and divided by twice their
number, which is their covariance (:mod:`qhal.quant.covariance`); the factor cancels out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
RoundToNearest = Callable[[Floats, int], tuple[Floats, Floats]]
"""Weights (groups, O) of one input, and its number -> integers, and what they stand for."""

_DAMPING = 0.05
"""Share of the mean variance that is added to every variance: section 3.3 of the paper has 0.01,
but a covariance from a few samples is worth less."""

_BLOCK = 32
"""Inputs whose errors reach the rest in one product: "lazy batch updates" in section 3.3."""


def round_with_gptq(
    weight: Floats, covariance: Floats, nearest: RoundToNearest, damping: float = _DAMPING
) -> Floats:
    """Round weights to integers, input by input (algorithm 1).

    Args:
        weight: (groups, O, K).
        covariance: of the inputs, (groups, K, K); the Hessian up to a factor.
        nearest: rounds the weights of one input to their nearest.
        damping: share of the mean variance that is added to every variance.

    Returns:
        Integers or codes (groups, O, K).
    """
    shares = _error_shares(covariance, damping)
    rest, codes = weight.swapaxes(1, 2).copy(), np.empty_like(weight)
    for start in range(0, rest.shape[1], _BLOCK):
        end = min(start + _BLOCK, rest.shape[1])
        errors = rest[:, start:end]  # of inputs that are done; what is left of the others
        for k in range(start, end):
            row = errors[:, k - start]
            codes[:, :, k], real = nearest(row, k)
            row -= real
            later = shares[:, k, k + 1 : end, np.newaxis]
            errors[:, k + 1 - start :] -= later * row[:, np.newaxis]
        rest[:, end:] -= shares[:, start:end, end:].swapaxes(1, 2) @ errors
    return codes


def output_error(error: Floats, covariance: Floats) -> float:
    """Sum over the outputs the variance that errors of weights (groups, O, K) make."""
    return float(np.sum(np.matmul(error, covariance) * error))


def _error_shares(covariance: Floats, share: float) -> Floats:
    """Return how much of the error at input i goes to input j > i, (groups, K, K)."""
    size = covariance.shape[-1]
    variance = np.trace(covariance, axis1=1, axis2=2) / size
    damping = np.where(variance > 0, share * variance, 1.0)
    inverse = np.linalg.inv(covariance + damping[:, np.newaxis, np.newaxis] * np.eye(size))
    upper = np.linalg.cholesky(inverse).swapaxes(1, 2)
    diagonal = np.diagonal(upper, axis1=1, axis2=2)
    return np.asarray(upper / diagonal[:, :, np.newaxis], np.float64)
