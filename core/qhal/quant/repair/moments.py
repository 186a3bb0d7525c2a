"""Second moments of what a layer sees, in the float model and in the quantized one."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from qhal.ir.graph import Array
from qhal.quant.covariance import ReceptiveField, cut_patches, pick_places

Floats = npt.NDArray[np.float64]
Patches = npt.NDArray[np.float32]

ROWS_PER_WEIGHT = 16
"""Places that are looked at per weight of an output; more changed the zoo's models by less than
the choice of the samples did."""
_MORE_ROWS = 2000
LARGEST_FIELD = 2304
"""Weights per output, up to which a layer is fitted: one matrix of moments then takes 42 MB."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments about the mean, for each group of channels.

    Attributes:
        rows: places that were looked at.
        mean_float: of the inputs in the float model, (groups, K).
        mean: of the inputs in the quantized model, (groups, K).
        covariance: of the quantized inputs, (groups, K, K).
        cross: covariance of float inputs (rows) with quantized ones (columns), (groups, K, K).
    """

    rows: int
    mean_float: Floats
    mean: Floats
    covariance: Floats
    cross: Floats

    def in_order(self, order: npt.NDArray[np.intp] | None) -> Moments:
        """Reorder the inputs, where a layout shuffled them; None leaves them."""
        if order is None:
            return self
        return Moments(
            self.rows,
            self.mean_float[:, order],
            self.mean[:, order],
            self.covariance[:, order][:, :, order],
            self.cross[:, order][:, :, order],
        )

    def about_zero(self) -> Moments:
        """Return moments about zero: of a layer without a bias that could take the means."""
        zero = np.zeros_like(self.mean)
        own, cross = _outer(self.mean, self.mean), _outer(self.mean_float, self.mean)
        return Moments(self.rows, zero, zero, self.covariance + own, self.cross + cross)


class MomentsCollector:
    """Sums products of patches, sample by sample, in constant memory.

    Args:
        field: the receptive field of the layer.
        samples: how many samples there are to come.
    """

    def __init__(self, field: ReceptiveField, samples: int) -> None:
        self._field, self._seen = field, 0
        self._wanted = ceil((ROWS_PER_WEIGHT * field.weights + _MORE_ROWS) / samples)
        shape = (field.groups, field.weights)
        self._waiting: list[tuple[Patches, Patches]] = []
        self.rows = 0
        self.exact, self.quantized = np.zeros(shape), np.zeros(shape)
        self.own, self.cross = np.zeros((2, *shape, field.weights))

    def update(self, exact: Array, quantized: Array) -> None:
        """Take the layer's input of one sample, in the float model and in the quantized one."""
        places = pick_places(self._field, exact, self._wanted, self._seen)
        floats, here = (cut_patches(self._field, v, places) for v in (exact, quantized))
        self._waiting.append((floats, here))
        self._seen += 1
        if sum(pair[0].shape[1] for pair in self._waiting) >= self._field.weights:
            self.flush()

    def flush(self) -> None:
        """Add what waits: one product of many rows costs less than many of few."""
        if not self._waiting:
            return
        floats, here = (np.concatenate(each, axis=1) for each in zip(*self._waiting, strict=True))
        self._waiting.clear()
        self.exact += floats.sum(1, dtype=np.float64)
        self.quantized += here.sum(1, dtype=np.float64)
        self.own += np.matmul(here.swapaxes(1, 2), here)
        self.cross += np.matmul(floats.swapaxes(1, 2), here)
        self.rows += floats.shape[1]


def moments_of(*collectors: MomentsCollector) -> Moments:
    """Join what collectors of one layer saw."""
    for collector in collectors:
        collector.flush()
    first, *others = collectors
    rows = sum(c.rows for c in collectors)
    exact = (first.exact + sum(c.exact for c in others)) / rows
    mean = (first.quantized + sum(c.quantized for c in others)) / rows
    own = (first.own + sum(c.own for c in others)) / rows
    cross = (first.cross + sum(c.cross for c in others)) / rows
    return Moments(rows, exact, mean, own - _outer(mean, mean), cross - _outer(exact, mean))


def _outer(left: Floats, right: Floats) -> Floats:
    return np.asarray(left[:, :, np.newaxis] * right[:, np.newaxis, :])
