"""Least squares: where float weights have to be, given inputs that carry the errors of others.

A layer behind quantized layers sees ``x'`` instead of ``x``. The weights ``V`` that come nearest to
its float outputs ``W x`` minimize ``E|W x - V x'|^2 + r |V - W|^2``:

    V = (W (E[x x'^T] + r I)) (E[x' x'^T] + r I)^-1

The bias takes the means. This is the asymmetric calibration of GPTAQ (Li et al. 2025, "GPTAQ:
Efficient Finetuning-Free Quantization for Asymmetric Calibration") with a ridge ``r``, which is
chosen by cross-validation: the fit to one half of the samples is judged on the other half.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qhal.quant.repair.moments import Moments

Floats = npt.NDArray[np.float64]

RIDGES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 1000.0)
"""In parts of the mean variance of the inputs; the last one leaves the weights where they are."""


@dataclass(frozen=True, eq=False)
class _Solver:
    """Solves for any ridge from one decomposition of the inputs' covariance.

    Attributes:
        values: eigenvalues (groups, K).
        vectors: eigenvectors (groups, K, K).
        target: ``W E[x x'^T]`` in the basis of the eigenvectors, (groups, O, K).
        weight: ``W`` in the same basis.
        unit: mean variance of the inputs of each group, (groups, 1).
    """

    values: Floats
    vectors: Floats
    target: Floats
    weight: Floats
    unit: Floats

    @staticmethod
    def of(weight: Floats, moments: Moments) -> _Solver:
        values, vectors = np.linalg.eigh(moments.covariance)
        unit = values.mean(1, keepdims=True)
        unit = np.where(unit > 0, unit, 1.0)
        return _Solver(
            np.maximum(values, 0.0),
            vectors,
            weight @ moments.cross @ vectors,
            weight @ vectors,
            unit,
        )

    def solve(self, ridge: float) -> Floats:
        """Return the weights (groups, O, K)."""
        size = (ridge * self.unit)[:, np.newaxis]
        rotated = (self.target + size * self.weight) / (self.values[:, np.newaxis] + size)
        return np.asarray(rotated @ self.vectors.swapaxes(1, 2))


def fit_weights(weight: Floats, whole: Moments, halves: tuple[Moments, Moments]) -> Floats:
    """Move weights (groups, O, K) to where they make up for the errors of their inputs.

    Args:
        weight: of the float model.
        whole: moments over all samples.
        halves: the same over one half of the samples each.
    """
    solvers = [_Solver.of(weight, half) for half in halves]
    losses = [
        sum(
            _loss(weight, solver.solve(ridge), other)
            for solver, other in zip(solvers, halves[::-1], strict=True)
        )
        for ridge in RIDGES
    ]
    best = RIDGES[int(np.argmin(losses))]
    return weight if best == RIDGES[-1] else _Solver.of(weight, whole).solve(best)


def _loss(weight: Floats, fitted: Floats, moments: Moments) -> float:
    """Compute ``E|W x - V x'|^2`` less its part that does not depend on ``V``."""
    own = np.sum((fitted @ moments.covariance) * fitted)
    return float(own - 2 * np.sum((weight @ moments.cross) * fitted))
