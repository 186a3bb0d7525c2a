"""One layer: its float weights moved, then put on the grid of its few bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qhal.quant.repair.fit import fit_weights
from qhal.quant.repair.grid import damped, fit_grid, loss, nearest, widest_steps
from qhal.quant.repair.moments import Moments
from qhal.targets.spec import QuantSpec

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FittedLayer:
    """Integers for a layer.

    Attributes:
        codes: integers (groups, O, K).
        steps: what one of them stands for, (groups, O).
        shift: what the bias has to take, (groups, O).
        left: the output error of the rounding, in parts of round-to-nearest's.
    """

    codes: Floats
    steps: Floats
    shift: Floats
    left: float


def fit_layer(
    weight: Floats, seen: tuple[Moments, Moments, Moments], spec: QuantSpec, least: Floats
) -> FittedLayer:
    """Fit a layer to what it sees.

    Args:
        weight: of the float model, (groups, O, K).
        seen: moments over all samples, and over each half of them.
        spec: a symmetric integer type with a step per output.
        least: smallest allowed steps, (groups, O).
    """
    whole, *halves = seen
    target = fit_weights(weight, whole, (halves[0], halves[1]))
    hessian = damped(whole.covariance)
    codes, steps = fit_grid(target, hessian, spec, least)
    plain = np.maximum(widest_steps(target, spec), least)
    before = loss(nearest(target, plain, spec), plain, target, hessian)
    after = loss(codes, steps, target, hessian)
    real = codes * steps[:, :, np.newaxis]
    shift = _response(weight, whole.mean_float) - _response(real, whole.mean)
    return FittedLayer(codes, steps, shift, after / before if before else 1.0)


def _response(weight: Floats, mean: Floats) -> Floats:
    return np.asarray((weight @ mean[:, :, np.newaxis])[:, :, 0])
