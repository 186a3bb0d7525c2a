"""Sliding windows over channels-last arrays: convolutions and pooling, in float.

Everything here works on ``(N, *spatial, C)``; an NCHW operator hands in a transposed view
(:func:`channels_last`). Integer kernels use the same code: a float GEMM of integers is exact
while every partial sum stays below 2**24 in float32 or 2**53 in float64 (:func:`exact_type`),
and is several times faster than NumPy's integer product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from qhal.ir.ops import Ints, Layout
from qhal.quant.oracle.values import Array

Epilogue = Callable[[Array], Array]
"""Turns accumulators (M, O) into results (M, O): bias, rescaling, activation."""

_TILE_BYTES = 2 << 20
"""Size of the unfolded windows held at a time: about a core's second-level cache."""


@dataclass(frozen=True)
class SlidingWindow:
    """Geometry of a sliding window; every tuple has one entry per spatial dimension.

    Attributes:
        kernel: size.
        strides: distance from one result to the next.
        begins: padding before the first element.
        dilations: distance from one tap to the next.
        out: number of results.
    """

    kernel: Ints
    strides: Ints
    begins: Ints
    dilations: Ints
    out: Ints

    @property
    def taps(self) -> Iterator[Ints]:
        """Positions in the kernel, last dimension fastest."""
        return iter(np.ndindex(*self.kernel))

    @property
    def padded(self) -> Ints:
        """Extent of the padded input that the windows cover."""
        sizes = zip(self.out, self.strides, self.kernel, self.dilations, strict=True)
        return tuple((o - 1) * s + (k - 1) * d + 1 for o, s, k, d in sizes)

    def slices(self, tap: Ints, first: int = 0, count: int | None = None) -> tuple[slice, ...]:
        """Locate a tap in the padded input, for results first … first+count-1 of axis 0."""
        found = []
        for axis, position in enumerate(tap):
            number = self.out[axis] if axis or count is None else count
            start = position * self.dilations[axis] + (0 if axis else first) * self.strides[axis]
            stop = start + (number - 1) * self.strides[axis] + 1
            found.append(slice(start, stop, self.strides[axis]))
        return tuple(found)


def channels_last(array: Array, layout: Layout) -> Array:
    """View an activation as (N, *spatial, C)."""
    return np.moveaxis(array, 1, -1) if layout is Layout.NCHW else array


def from_channels_last(array: Array, layout: Layout) -> Array:
    """Invert the view of :func:`channels_last`."""
    return np.moveaxis(array, -1, 1) if layout is Layout.NCHW else array


def spatial(shape: Ints, layout: Layout) -> Ints:
    """Return the spatial dimensions of an activation's shape."""
    return shape[2:] if layout is Layout.NCHW else shape[1:-1]


def pad(x: Array, window: SlidingWindow, value: float, dtype: npt.DTypeLike) -> Array:
    """Copy (N, *spatial, C) into the padded extent that the windows cover.

    Input beyond that extent is dropped: no window reads it.
    """
    padded = np.full((x.shape[0], *window.padded, x.shape[-1]), value, dtype)
    inside, source = [], []
    for size, begin, extent in zip(x.shape[1:-1], window.begins, window.padded, strict=True):
        used = max(min(size, extent - begin), 0)
        inside.append(slice(begin, begin + used))
        source.append(slice(0, used))
    padded[(slice(None), *inside)] = x[(slice(None), *source)]
    return padded


def exact_type(largest_input: float, weight: Array, axis: int) -> npt.DTypeLike:
    """Choose a float type with exact sums of input x weight over all axes but ``axis``."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    total = np.abs(weight).sum(axis=others, dtype=np.int64).max(initial=0)
    return np.float32 if float(total) * largest_input < 2**24 else np.float64


def convolve(
    x: Array, weight: Array, window: SlidingWindow, epilogue: Epilogue, dtype: npt.DTypeLike
) -> Array:
    """Convolve as products of unfolded windows and weights, a few rows at a time.

    Args:
        x: padded input (N, *window.padded, C).
        weight: (groups, taps * C/groups, O/groups), taps in the order of ``window.taps``.
        window: geometry.
        epilogue: applied to every (M, O) of accumulators.
        dtype: type of the results.

    Returns:
        (N, *window.out, O).
    """
    groups, depth, width = weight.shape
    result = np.empty((x.shape[0], *window.out, groups * width), dtype)
    row_bytes = prod(window.out[1:]) * groups * depth * x.itemsize
    rows = max(1, min(window.out[0], _TILE_BYTES // max(row_bytes, 1)))
    for image, target in zip(x, result, strict=True):
        for first in range(0, window.out[0], rows):
            count = min(rows, window.out[0] - first)
            columns = _unfold(image, window, first, count, groups)
            sums = _joined([c @ w for c, w in zip(columns, weight, strict=True)])
            target[first : first + count] = epilogue(sums).reshape(count, *window.out[1:], -1)
    return result


def _joined(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def _unfold(
    image: Array, window: SlidingWindow, first: int, count: int, groups: int
) -> list[Array]:
    """Unfold the windows of some result rows: per group (M, taps * C/groups)."""
    number, channels = prod(window.kernel), image.shape[-1]
    if number == 1:
        taps = image[window.slices((0,) * len(window.kernel), first, count)]
    else:
        taps = np.empty((count, *window.out[1:], number, channels), image.dtype)
        for index, tap in enumerate(window.taps):
            taps[..., index, :] = image[window.slices(tap, first, count)]
    split = taps.reshape(-1, number, groups, channels // groups)
    return [split[:, :, g].reshape(split.shape[0], -1) for g in range(groups)]


def convolve_depthwise(
    x: Array, weight: Array, window: SlidingWindow, epilogue: Epilogue, dtype: npt.DTypeLike
) -> Array:
    """Convolve with one filter per channel, tap by tap, a few rows at a time.

    Args:
        x: padded input (N, *window.padded, C), channels already repeated by the multiplier.
        weight: (taps, C) in the order of ``window.taps``.
        window: geometry.
        epilogue: applied to every (M, C) of accumulators.
        dtype: type of the results.

    Returns:
        (N, *window.out, C).
    """
    channels = x.shape[-1]
    result = np.empty((x.shape[0], *window.out, channels), dtype)
    row_bytes = prod(window.out[1:]) * channels * x.itemsize
    rows = max(1, min(window.out[0], _TILE_BYTES // 8 // max(row_bytes, 1)))
    for image, target in zip(x, result, strict=True):
        for first in range(0, window.out[0], rows):
            count = min(rows, window.out[0] - first)
            sums = np.zeros((count, *window.out[1:], channels), x.dtype)
            product = np.empty_like(sums)
            for index, tap in enumerate(window.taps):
                np.multiply(image[window.slices(tap, first, count)], weight[index], out=product)
                sums += product
            done = epilogue(sums.reshape(-1, channels))
            target[first : first + count] = done.reshape(sums.shape)
    return result


def scatter(x: Array, weight: Array, window: SlidingWindow) -> Array:
    """Convolve transposed without bias: every input adds its kernel to the output.

    Args:
        x: input (N, *spatial, C).
        weight: (groups, taps, C/groups, O/groups).
        window: geometry of the convolution whose gradient this is: ``out`` is the extent of
            the *input*, ``begins`` is cropped from the result.

    Returns:
        (N, *window.padded, groups * O/groups), of the type of ``x @ weight``.
    """
    groups, _, _, width = weight.shape
    dtype = np.result_type(x, weight)
    full = np.zeros((x.shape[0], *window.padded, groups * width), dtype)
    parts = np.split(x.astype(dtype, copy=False), groups, axis=-1)
    for index, tap in enumerate(window.taps):
        sums = [part @ w[index] for part, w in zip(parts, weight, strict=True)]
        full[(slice(None), *window.slices(tap))] += _joined(sums)
    return full


def crop(full: Array, begins: Ints, out: Ints) -> Array:
    """Cut (N, *spatial, C) to ``out`` after ``begins``; what the input never reached is zero."""
    result = np.zeros((full.shape[0], *out, full.shape[-1]), full.dtype)
    inside = [
        slice(0, max(min(o, e - b), 0))
        for o, e, b in zip(out, full.shape[1:-1], begins, strict=True)
    ]
    source = [slice(b, b + i.stop) for b, i in zip(begins, inside, strict=True)]
    result[(slice(None), *inside)] = full[(slice(None), *source)]
    return result


def reduce_windows(x: Array, window: SlidingWindow, function: np.ufunc) -> Array:
    """Combine the taps of every window of a padded (N, *window.padded, C) with a ufunc."""
    taps = (x[(slice(None), *window.slices(tap))] for tap in window.taps)
    result = next(taps).copy()
    for tap in taps:
        function(result, tap, out=result)
    return result


def count_inside(window: SlidingWindow, size: Ints) -> npt.NDArray[np.int64]:
    """Count each window's taps inside an input of ``size``: shape (*window.out, 1)."""
    inside = np.ones((1, *size, 1), np.int64)
    padded = pad(inside, window, 0, np.int64)
    counts: npt.NDArray[np.int64] = reduce_windows(padded, window, np.add)[0]
    return counts
