"""Resize in every mode, as products with constant matrices; and padding that wraps around."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array
from qhal.ir.ops import Ints
from qhal.legal.forms.draft import Draft
from qhal.legal.forms.functions import Results
from qhal.legal.forms.opaque.node import Attributes, fits, sliced, taken, times_matrix

_REAL = np.float32
Reals = npt.NDArray[np.float32]

_HALF = _REAL(0.5 - 1e-6)
"""ONNX Runtime takes what rounding put just below a half for one where halves go up."""


@dataclass(frozen=True)
class _Axis:
    """How one dimension is resampled."""

    old: int
    new: int
    scale: float
    start: float = 0.0
    end: float = 1.0

    def places(self, mode: str) -> Reals:
        """Return where each result lies in the operand.

        The formulas are those of ONNX's Resize; in float32, as ONNX Runtime computes them: which
        element is the nearest may depend on the last bit.
        """
        at, scale = np.arange(self.new, dtype=_REAL), _REAL(self.scale)
        if mode == "align_corners":
            return np.asarray(at * _REAL(self.old - 1) / _REAL(max(self.new - 1, 1)))
        if mode == "asymmetric":
            return np.asarray(at / scale)
        if mode == "tf_crop_and_resize":
            return self._in_region(at)
        if mode == "pytorch_half_pixel" and self.new == 1:
            return np.zeros(1, _REAL)
        middle = (at + _REAL(0.5)) / scale
        if mode == "half_pixel_symmetric":
            cut = _REAL(self.new) / (scale * _REAL(self.old))
            middle = _REAL(self.old) / _REAL(2) * (_REAL(1) - cut) + middle
        return np.asarray(middle - _REAL(0.5))

    def _in_region(self, at: Reals) -> Reals:
        start, end, last = _REAL(self.start), _REAL(self.end), _REAL(self.old - 1)
        if self.new == 1:
            return np.full(1, _REAL(0.5) * (start + end) * last)
        return np.asarray(start * last + (at * (end - start) * last) / _REAL(self.new - 1))


def resize(d: Draft) -> Results:
    """Resample one dimension after the other: each is a product, or for nearest a selection."""
    attributes = Attributes(d)
    axes = _axes(d, attributes)
    if axes is None:
        return None
    mode = attributes.text("mode", "nearest")
    coordinates = attributes.text("coordinate_transformation_mode", "half_pixel")
    x = d.input(0)
    if not fits(*d.shape(d.node.outputs[0])) and coordinates == "tf_crop_and_resize":
        return None
    for index, axis in enumerate(axes):
        if axis.old == axis.new and axis.scale == 1 and (axis.start, axis.end) == (0, 1):
            continue
        places = axis.places(coordinates)
        if mode == "nearest":
            x = taken(d, "nearest", x, index, _nearest(places, axis, attributes))
            continue
        matrix = _matrix(places, axis, mode, attributes)
        if matrix is None:
            return None
        x = times_matrix(d, "resampled", x, index, matrix)
    if coordinates == "tf_crop_and_resize":
        x = _extrapolated(d, x, axes, attributes)
    return None if x == d.input(0) else (x,)


def _axes(d: Draft, attributes: Attributes) -> list[_Axis] | None:
    """Read how each dimension is resampled; None if that is computed."""
    old, new = d.shape(d.input(0)), d.shape(d.node.outputs[0])
    listed = [axis % len(old) for axis in attributes.ints("axes") or range(len(old))]
    scales = [float(_REAL(b) / _REAL(a)) for a, b in zip(old, new, strict=True)]
    region = np.tile(np.asarray([[0], [1]], _REAL), len(old))
    if attributes.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        found = d.constant_input(1)
        if found is None:
            return None
        region[:, listed] = found.reshape(2, -1)
    stated = _stated_scales(d, attributes, listed)
    if stated is None:
        return None
    for axis, scale in zip(listed, stated, strict=False):
        scales[axis] = scale
    return [
        _Axis(old[i], new[i], scales[i], float(region[0, i]), float(region[1, i]))
        for i in range(len(old))
    ]


def _stated_scales(d: Draft, attributes: Attributes, listed: Sequence[int]) -> list[float] | None:
    """Return the scales that the node states; none where sizes say all, None if computed."""
    scales, sizes = d.constant_input(2), d.constant_input(3)
    if (d.input(2) and scales is None) or (d.input(3) and sizes is None):
        return None
    if scales is not None and scales.size:
        return [float(scale) for scale in scales.reshape(-1)]
    policy = attributes.text("keep_aspect_ratio_policy", "stretch")
    if sizes is None or policy == "stretch":
        return []
    shape = d.shape(d.input(0))
    ratios = [_REAL(size) / _REAL(shape[a]) for size, a in zip(sizes, listed, strict=True)]
    chosen = min(ratios) if policy == "not_larger" else max(ratios)
    return [float(chosen)] * len(listed)


def _nearest(places: Reals, axis: _Axis, attributes: Attributes) -> Array:
    rounding = attributes.text("nearest_mode", "round_prefer_floor")
    below = np.floor(places)
    rounded = {
        "round_prefer_floor": np.where(places - below > _REAL(0.5), below + 1, below),
        "round_prefer_ceil": np.where(places - below >= _HALF, below + 1, below),
        "floor": below,
        "ceil": np.ceil(places),
    }[rounding]
    return np.clip(rounded, 0, axis.old - 1).astype(np.int64)


def _matrix(places: Reals, axis: _Axis, mode: str, attributes: Attributes) -> Array | None:
    """Return the weight of each element in each result; beyond the border, the border counts.

    None if the matrix would be too large, or if a result has no element with a weight.
    """
    cubic = mode == "cubic"
    shrink = min(axis.scale, 1.0) if attributes.integer("antialias") else 1.0
    reach = int(np.ceil((2 if cubic else 1) / shrink)) + 1
    if not fits(axis.new, axis.old) or not fits(axis.new, 2 * reach + 2):
        return None
    first = np.floor(places).astype(np.int64) - reach
    taps = first[:, None] + np.arange(2 * reach + 2)
    distance = np.abs(taps - places[:, None].astype(np.float64)) * shrink
    a = attributes.number("cubic_coeff_a", -0.75)
    weights = _cubic(distance, a) if cubic else np.maximum(1 - distance, 0)
    outside = (taps < 0) | (taps >= axis.old)
    if attributes.integer("exclude_outside"):
        weights = np.where(outside, 0, weights)
    totals = weights.sum(1, keepdims=True)
    if not totals.all():
        return None
    weights = weights / totals
    matrix = np.zeros((axis.new, axis.old))
    rows = np.broadcast_to(np.arange(axis.new)[:, None], taps.shape)
    np.add.at(matrix, (rows, np.clip(taps, 0, axis.old - 1)), weights)
    return matrix


def _cubic(distance: npt.NDArray[np.float64], a: float) -> npt.NDArray[np.float64]:
    """Weigh by the cubic convolution kernel (Keys 1981) with the coefficient ``a``."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return np.asarray(np.where(distance <= 1, near, np.where(distance < 2, far, 0)))


def _extrapolated(d: Draft, x: str, axes: list[_Axis], attributes: Attributes) -> str:
    """Fill in the stated value where the region leaves the operand."""
    shape = tuple(axis.new for axis in axes)
    outside = np.zeros(shape, np.bool_)
    for i, axis in enumerate(axes):
        places = axis.places("tf_crop_and_resize")
        beyond = (places < 0) | (places > axis.old - 1)
        outside |= beyond.reshape(-1, *(1,) * (len(axes) - 1 - i))
    if not outside.any():
        return x
    value = d.constant("value", attributes.number("extrapolation_value", 0.0))
    return d("filled", ops.Where(), d.constant("outside", outside, DType.BOOL), value, x)


# --- padding --------------------------------------------------------------------

_MOST_COPIES = 256
"""Copies of a tensor that padding lays side by side."""


def wrapping_pad(d: Draft) -> Results:
    """Join pieces of the tensor in front of it and behind it.

    Negative pads cut the tensor first: what is left is what wraps around.
    """
    attributes, x = Attributes(d), d.input(0)
    pads = _pads(d, attributes)
    if pads is None or attributes.text("mode", "constant") != "wrap":
        return None
    rank = len(d.shape(x))
    for axis in range(rank):
        begin, end = pads[axis], pads[rank + axis]
        x = _cropped(d, x, axis, -min(begin, 0), -min(end, 0))
        size = d.shape(x)[axis]
        if size == 0 or max(begin, 0) + max(end, 0) > _MOST_COPIES * size:
            return None
        x = _wrapped(d, x, axis, max(begin, 0), max(end, 0))
    return None if x == d.input(0) else (x,)


def _pads(d: Draft, attributes: Attributes) -> Ints | None:
    """Return begins and ends of all dimensions; None if they are computed."""
    found, axes = d.constant_input(1), d.constant_input(3)
    rank = len(d.shape(d.input(0)))
    if found is None or (d.input(3) and axes is None):
        return None
    listed = range(rank) if axes is None else [int(a) % rank for a in axes]
    pads = [0] * (2 * rank)
    for i, axis in enumerate(listed):
        pads[axis], pads[rank + axis] = int(found[i]), int(found[len(listed) + i])
    return tuple(pads)


def _cropped(d: Draft, x: str, axis: int, begin: int, end: int) -> str:
    """Cut so many elements off both ends."""
    count = d.shape(x)[axis] - begin - end
    return sliced(d, "cropped", x, axis, begin, count) if begin or end else x


def _wrapped(d: Draft, x: str, axis: int, begin: int, end: int) -> str:
    """Lay out copies of a dimension; the first and the last of them may be cut."""
    size = d.shape(x)[axis]
    pieces, at = [], -begin
    while at < size + end:
        start = at % size
        count = min(size - start, size + end - at)
        whole = count == size
        pieces.append(x if whole else sliced(d, "piece", x, axis, start, count))
        at += count
    return pieces[0] if len(pieces) == 1 else d("joined", ops.Concat(axis), *pieces)
