"""Where a Resize reads: coordinates, and the elements that mode nearest copies in ONNX Runtime.

Coordinates are float32, so that floor and ceil may miss a whole number by one rounding. Of halves
ONNX Runtime makes sure: what is a half in exact arithmetic is rounded as one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from qhal.ir.ops import Resize

Indices = npt.NDArray[np.int64]
Single = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]

_HALVES: Mapping[str, Callable[[Double], Double]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
}


def nearest_indices(op: Resize, size: int, count: int) -> Indices:
    """Return the element of ``size`` that each of ``count`` results copies."""
    if op.nearest in _HALVES:
        found = _HALVES[op.nearest](_exact(op.coordinates, size, count))
    else:
        place = coordinates(op.coordinates, size, count).astype(np.float64)
        found = np.floor(place) if op.nearest == "floor" else np.ceil(place)
    return np.clip(found, 0, size - 1).astype(np.int64)


def coordinates(mode: str, size: int, count: int) -> Single:
    """Return where the results lie in an input of ``size``, in float32 as runtimes compute it."""
    place = np.arange(count, dtype=np.float32)
    scale = np.float32(count) / np.float32(size)
    if mode == "asymmetric":
        return place / scale
    if mode == "align_corners":
        return place * np.float32(size - 1) / np.float32(max(count - 1, 1))
    if mode == "pytorch_half_pixel" and count == 1:
        return np.zeros(1, np.float32)
    return (place + np.float32(0.5)) / scale - np.float32(0.5)


def _exact(mode: str, size: int, count: int) -> Double:
    """Return the same with one division of whole numbers, which hits every half."""
    place = np.arange(count, dtype=np.float64)
    if mode == "asymmetric":
        return place * size / count
    if mode == "align_corners":
        return place * (size - 1) / max(count - 1, 1)
    if mode == "pytorch_half_pixel" and count == 1:
        return np.zeros(1)
    return (2 * place + 1) * size / (2 * count) - 0.5
