"""Few-bit weights: one step per output, and integers that lose least in the layer's outputs.

What counts is ``(Q - V) H (Q - V)^T`` with the covariance H of the inputs. Steps are the best of a
few shrunken ones; integers come from GPTQ, which takes the inputs in the order of their variances
(Frantar et al. 2022, "act order"), and then from cyclic coordinate descent, which fits the steps
again before each pass (Zhang et al. 2024, "COMQ: A Backpropagation-Free Algorithm for Post-Training
Quantization").
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qhal.quant.gptq import round_with_gptq
from qhal.targets.spec import QuantSpec

Floats = npt.NDArray[np.float64]

DAMPING = 0.5
"""Part of the mean variance that is added to each variance. With 100 images, what a late layer of
mobilenet_v2 lost on other images was least between 0.3 and 1."""
PASSES = 4
_SHRINKS = np.linspace(0.5, 1.0, 11)
_BLOCK = 32


def damped(covariance: Floats) -> Floats:
    """Add a part of the mean variance to the variances of (groups, K, K)."""
    size = covariance.shape[-1]
    mean = np.trace(covariance, axis1=1, axis2=2) / size
    added = np.where(mean > 0, DAMPING * mean, 1.0)
    return np.asarray(covariance + added[:, np.newaxis, np.newaxis] * np.eye(size))


def fit_grid(
    weight: Floats, hessian: Floats, spec: QuantSpec, least: Floats
) -> tuple[Floats, Floats]:
    """Choose steps and integers.

    Args:
        weight: (groups, O, K).
        hessian: damped covariance of the inputs, (groups, K, K).
        spec: a symmetric integer type with a step per output.
        least: smallest allowed steps, (groups, O).

    Returns:
        Integers (groups, O, K) and steps (groups, O).
    """
    order = np.argsort(-np.diagonal(hessian, axis1=1, axis2=2).mean(0))
    back = np.argsort(order)
    weight, hessian = weight[:, :, order], hessian[:, order][:, :, order]
    steps = np.maximum(_best_steps(weight, hessian, spec), least)
    codes = _rounded(weight, hessian, steps, spec)
    for _ in range(PASSES):
        steps = np.maximum(_fitted_steps(weight, hessian, codes, steps), least)
        if not _descend(codes, weight, hessian, steps, spec):
            break
    return codes[:, :, back], steps


def loss(codes: Floats, steps: Floats, weight: Floats, hessian: Floats) -> float:
    """Sum over the outputs the variance that rounding causes."""
    error = codes * steps[:, :, np.newaxis] - weight
    return float(np.sum((error @ hessian) * error))


def widest_steps(weight: Floats, spec: QuantSpec) -> Floats:
    """Return the steps (groups, O) that cover all weights."""
    reach = np.abs(weight).max(-1)
    typical = float(np.median(reach[reach > 0])) if np.any(reach > 0) else 1.0
    return np.asarray(np.where(reach > 0, reach, typical) / spec.qmax)


def nearest(weight: Floats, steps: Floats, spec: QuantSpec) -> Floats:
    """Round to the nearest integers."""
    return np.clip(np.rint(weight / steps[:, :, np.newaxis]), spec.qmin, spec.qmax)


def _best_steps(weight: Floats, hessian: Floats, spec: QuantSpec) -> Floats:
    """Shrink the steps of each output as is best for rounding to nearest."""
    widest, best, lowest = widest_steps(weight, spec), None, None
    for shrink in _SHRINKS:
        steps = widest * shrink
        error = nearest(weight, steps, spec) * steps[:, :, np.newaxis] - weight
        found = np.sum((error @ hessian) * error, axis=-1)
        if best is None or lowest is None:
            best, lowest = steps, found
        else:
            best, lowest = np.where(found < lowest, steps, best), np.minimum(found, lowest)
    assert best is not None
    return np.asarray(best)


def _rounded(weight: Floats, hessian: Floats, steps: Floats, spec: QuantSpec) -> Floats:
    def to_grid(column: Floats, k: int) -> tuple[Floats, Floats]:
        codes = np.clip(np.rint(column / steps), spec.qmin, spec.qmax)
        return codes, codes * steps

    return round_with_gptq(weight, hessian, to_grid, damping=0.0)


def _fitted_steps(weight: Floats, hessian: Floats, codes: Floats, steps: Floats) -> Floats:
    """Fit the steps to the integers, by least squares."""
    seen = codes @ hessian
    over, under = np.sum(seen * weight, axis=-1), np.sum(seen * codes, axis=-1)
    fits = (under > 0) & (over > 0)
    return np.asarray(np.where(fits, over / np.where(fits, under, 1.0), steps))


def _descend(
    codes: Floats, weight: Floats, hessian: Floats, steps: Floats, spec: QuantSpec
) -> bool:
    """Set each integer to its best value beside the others, in place; False if none changed.

    Changes reach the inputs behind a block in one product, as in GPTQ.
    """
    gradient = (codes * steps[:, :, np.newaxis] - weight) @ hessian
    curvature = np.diagonal(hessian, axis1=1, axis2=2)[:, np.newaxis]
    changed = False
    for start in range(0, weight.shape[-1], _BLOCK):
        end = min(start + _BLOCK, weight.shape[-1])
        before = codes[:, :, start:end].copy()
        for k in range(start, end):
            best = codes[:, :, k] - gradient[:, :, k] / (curvature[:, :, k] * steps)
            best = np.clip(np.rint(best), spec.qmin, spec.qmax)
            moved = ((best - codes[:, :, k]) * steps)[:, :, np.newaxis]
            codes[:, :, k] = best
            gradient[:, :, k:end] += moved * hessian[:, np.newaxis, k, k:end]
        moves = (codes[:, :, start:end] - before) * steps[:, :, np.newaxis]
        if moves.any():
            changed = True
            gradient[:, :, end:] += moves @ hessian[:, start:end, end:]
    return changed
