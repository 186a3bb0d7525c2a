"""The covariance of what a layer multiplies, over the calibration data: GPTQ's Hessian.

The squared error of a layer's outputs is a quadratic form of the errors of its weights, whose
Hessian is ``2 X X^T`` for inputs ``X``. Centered and divided by ``2 n``, for n columns of ``X``,
it is the covariance of the inputs: :mod:`qhal.quant.gptq` rounds with it.

Covariances come from patches at a few places of a few samples, and only of layers with few
weights per output.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

import numpy as np
import numpy.typing as npt

from qhal.ir.graph import Array
from qhal.ir.ops import Conv, DepthwiseConv, FullyConnected, Ints, Layout, Op

LARGEST_PATCH = 256
"""Weights per output of a layer, up to which covariances are kept: at most half a megabyte."""
SAMPLES = 32
"""Samples that patches are taken from; more where a sample has few places."""
ROWS_PER_WEIGHT = 8
"""Patches needed to estimate a covariance; with fewer, rounding by it made models worse."""

_MORE_ROWS = 128
_OFFSET_STRIDE = 40503  # odd, near 2^16 / golden ratio: successive samples pick other places

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ReceptiveField:
    """Which elements of its operand one output of a layer multiplies.

    Attributes:
        groups: of channels; outputs of a group see its channels alone.
        depth: channels of a group.
        kernel: size in each spatial dimension; empty for a fully connected layer, whose channels
            are the last dimension.
        strides: in each spatial dimension.
        pads: as of the operator, begins before ends.
        dilations: in each spatial dimension.
    """

    groups: int
    depth: int
    kernel: Ints = ()
    strides: Ints = ()
    pads: Ints = ()
    dilations: Ints = ()

    @property
    def weights(self) -> int:
        """Weights per output."""
        return self.depth * prod(self.kernel)


def receptive_field_of(op: Op, weight: Ints, largest: int = LARGEST_PATCH) -> ReceptiveField | None:
    """Return the receptive field of a layer with a weight of this shape; None if none is kept.

    Args:
        op: the layer.
        weight: shape of its weight.
        largest: weights per output, above which nothing is kept.
    """
    field = None
    if isinstance(op, FullyConnected):
        field = ReceptiveField(1, weight[1])
    elif isinstance(op, Conv | DepthwiseConv):
        kernel = weight[2:] if op.layout is Layout.NCHW else weight[1:-1]
        groups, depth = _grouping(op, weight)
        field = ReceptiveField(groups, depth, kernel, op.strides, op.pads, op.dilations)
    return field if field is not None and 1 < field.weights <= largest else None


def _grouping(op: Conv | DepthwiseConv, weight: Ints) -> tuple[int, int]:
    """Return the number of groups, and of channels of each."""
    if isinstance(op, DepthwiseConv):
        outputs = weight[0] if op.layout is Layout.NCHW else weight[-1]
        return outputs // op.multiplier, 1
    return op.groups, weight[1] if op.layout is Layout.NCHW else weight[-1]


class CovarianceCollector:
    """Collects the covariance of one receptive field, sample by sample, in constant memory.

    Args:
        field: of the layer.
        samples: how many samples there are to come.
    """

    def __init__(self, field: ReceptiveField, samples: int) -> None:
        self._field = field
        self._wanted = ROWS_PER_WEIGHT * field.weights + _MORE_ROWS
        self._wanted_of_sample = ceil(self._wanted / min(samples, SAMPLES))
        self._samples = self._rows = 0
        self._sum: Floats | float = 0.0
        self._products: Floats | float = 0.0

    def update(self, values: Array) -> None:
        """Take patches of the operand (N, C, …), or (…, K) of a fully connected layer."""
        if self._rows < self._wanted:
            places = pick_places(self._field, values, self._wanted_of_sample, self._samples)
            patches = cut_patches(self._field, values, places)
            self._sum = self._sum + patches.sum(1, dtype=np.float64)
            self._products = self._products + np.matmul(patches.swapaxes(1, 2), patches)
            self._rows += patches.shape[1]
        self._samples += 1

    def covariance(self) -> Floats | None:
        """Return covariances (groups, K, K); None if too few places were seen."""
        if self._rows < ROWS_PER_WEIGHT * self._field.weights:
            return None
        mean = np.asarray(self._sum) / self._rows
        return np.asarray(self._products) / self._rows - mean[:, :, None] * mean[:, None, :]


def pick_places(
    field: ReceptiveField, values: Array, wanted: int, sample: int
) -> npt.NDArray[np.intp]:
    """Pick evenly spread numbers of places, other ones in each sample.

    Args:
        field: of the layer.
        values: its operand, (N, C, …), or (…, K) of a fully connected layer.
        wanted: how many places; all there are if these are fewer.
        sample: number of the sample.
    """
    if field.kernel:
        made = [_places(field, axis, length) for axis, length in enumerate(values.shape[2:])]
        total = values.shape[0] * prod(made)
    else:
        total = values.size // field.depth
    count = min(wanted, total)
    start = sample * _OFFSET_STRIDE % total
    return np.asarray((start + np.arange(count) * (total // count)) % total, np.intp)


def cut_patches(
    field: ReceptiveField, values: Array, numbers: npt.NDArray[np.intp]
) -> npt.NDArray[np.float32]:
    """Cut patches (groups, places, K), the weights of an output in the order of NCHW.

    Args:
        field: of the layer.
        values: its operand, (N, C, …), or (…, K) of a fully connected layer.
        numbers: of the places, from :func:`pick_places`.
    """
    if not field.kernel:
        rows = values.reshape(-1, field.depth)
        return np.asarray(rows[np.newaxis, numbers], np.float32)
    batch, _, *size = values.shape
    made = [_places(field, axis, length) for axis, length in enumerate(size)]
    places = np.unravel_index(numbers, (batch, *made))
    found = _gathered(values, field, places)
    by_group = found.reshape(len(found), -1, field.groups, field.depth)
    return by_group.transpose(2, 0, 3, 1).reshape(field.groups, len(found), -1)


def _places(field: ReceptiveField, axis: int, length: int) -> int:
    """Count the places of a window along one spatial dimension."""
    begin, end = field.pads[axis], field.pads[axis + len(field.kernel)]
    reach = field.dilations[axis] * (field.kernel[axis] - 1) + 1
    return int((length + begin + end - reach) // field.strides[axis] + 1)


def _gathered(
    values: Array, field: ReceptiveField, places: tuple[npt.NDArray[np.intp], ...]
) -> npt.NDArray[np.float32]:
    """Gather what windows see at these places, (places, *kernel, C); zero for padding."""
    rank, inside = len(field.kernel), np.ones((), np.bool_)
    indices = []
    for axis, place in enumerate(places[1:]):
        taps = np.arange(field.kernel[axis]) * field.dilations[axis] - field.pads[axis]
        at = place[:, np.newaxis] * field.strides[axis] + taps
        shape = [len(place), *(len(taps) if i == axis else 1 for i in range(rank))]
        length = values.shape[2 + axis]
        inside = inside & ((at >= 0) & (at < length)).reshape(shape)
        indices.append(np.clip(at, 0, length - 1).reshape(shape))
    batch = places[0].reshape(-1, *[1] * rank)
    found = np.asarray(values[(batch, slice(None), *indices)], np.float32)
    return np.where(inside[..., np.newaxis], found, np.float32(0))
