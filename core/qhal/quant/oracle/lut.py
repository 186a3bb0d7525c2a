"""Look-up tables of LiteRT's kernels, entry by entry as LiteRT fills them.

(``LUTPopulate`` and ``LUTLookup`` in tflite/kernels/internal/common.h.)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from qhal.quant.model import QuantParams
from qhal.quant.oracle.context import saturate, scalar
from qhal.quant.oracle.fixed_point import Int64, round_half_away
from qhal.quant.oracle.through_float import Lookup, tabulate
from qhal.quant.oracle.values import Array

_INTERVALS = 512
"""A 16-bit argument: the upper 9 bits choose an interval, the lower 7 interpolate."""


def table8(source: QuantParams, output: QuantParams, function: Callable[[Array], Array]) -> Lookup:
    """Build 256 entries for an 8-bit argument; the result is scaled by a float32 reciprocal."""
    scale, zero_point = scalar(output)
    inverse = np.float32(1) / scale

    def entries(x: npt.NDArray[np.float32]) -> Array:
        rescaled = round_half_away(function(x).astype(np.float32) * inverse)
        return saturate(rescaled + np.float32(zero_point), output.dtype)

    return tabulate(source, entries)


def table16(source: QuantParams, output: QuantParams, function: Callable[[Array], Array]) -> Lookup:
    """Build 513 samples for a 16-bit argument, with linear interpolation."""
    in_scale, in_zero = scalar(source)
    out_scale, out_zero = scalar(output)
    samples = samples16(in_scale, in_zero, out_scale, out_zero, function)
    return lambda x: interpolate16(x, samples).astype(np.int16)


def samples16(
    in_scale: Any, in_zero: int, out_scale: Any, out_zero: int, function: Callable[[Array], Array]
) -> Int64:
    """Compute the 513 samples, each moved by half of the interpolation's error in the middle.

    Computed in the type of the scales (float32, or float64 for Softmax).
    """
    kind = type(in_scale)
    low, high = in_scale * kind(-32768 - in_zero), in_scale * kind(32767 - in_zero)
    out_low = out_scale * kind(-32768 - out_zero)
    out_high = out_scale * kind(32767 - out_zero)
    width = (high - low) / kind(_INTERVALS)
    inverse = kind(65536) / (out_high - out_low)
    index = np.arange(_INTERVALS, dtype=kind)
    value = function(low + index * width) * inverse
    middle = round_half_away(function(low + index * width + width / kind(2)) * inverse)
    following = function(low + (index + 1) * width) * inverse
    start = round_half_away(value)
    interpolated = round_half_away((following + start) / kind(2))
    samples = start - round_half_away((interpolated - middle) / kind(2))
    last = round_half_away(function(np.asarray([high])) * inverse)
    every = np.clip(np.concatenate([samples, last]), -32768, 32767)
    return np.asarray(np.trunc(every), np.int64)


def interpolate16(x: Array, samples: Int64) -> Int64:
    """Compute results for 16-bit arguments."""
    wide = x.astype(np.int64)
    index = 256 + (wide >> 7)
    base = samples[index]
    # The slope is an int16 in the kernel, so it wraps there.
    slope = (samples[index + 1] - base).astype(np.int16).astype(np.int64)
    return np.asarray(base + ((slope * (wide & 0x7F) + 64) >> 7))


@cache
def sigmoid_table() -> Int64:
    """Compute sigmoid(i / 24) in 16 fractional bits, 256 entries (``sigmoid_table_uint16``).

    Every sample is moved by half of the error that linear interpolation would have in the middle
    of its interval; the last one is the largest that fits.
    """
    index = np.arange(256)
    start, following = _sigmoid16(index), _sigmoid16(index + 1)
    error = _sigmoid16(index + 0.5) - (start + following) / 2
    table = np.rint(start + error / 2).astype(np.int64)
    table[-1] = 65535
    return table


def _sigmoid16(index: Array) -> Array:
    return np.asarray(65536 / (1 + np.exp(-index / 24)))
