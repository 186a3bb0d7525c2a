"""Which pixels a resize reads: ONNX's definition, TFLite's, and where they agree.

Instead of a table of modes, both index maps are computed for the static sizes at hand and
compared, so that a mode is used exactly where it gives the same result.
ONNX: operator Resize, ``coordinate_transformation_mode`` and ``nearest_mode``. TFLite:
tensorflow/lite/kernels/internal/reference/resize_nearest_neighbor.h (GetNearestNeighbor) and
resize_utils.h (ComputeInterpolationValues).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qhal.ir.graph import NodeView
from qhal.ir.ops import Resize
from qhal.ir.resampling import Indices, nearest_indices

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ResizeMode:
    """The two flags of TFLite's resize operators."""

    align_corners: bool
    half_pixel_centers: bool


MODES = (ResizeMode(False, False), ResizeMode(False, True), ResizeMode(True, False))
"""All that TFLite has; both flags at once are refused. Lowest operator version first."""


def spatial_sizes(view: NodeView) -> list[tuple[int, int]]:
    """List the (input, output) size of each spatial dimension of a Resize in NHWC."""
    return list(zip(view.input().shape[1:-1], view.output().shape[1:-1], strict=True))


def exact_mode(view: NodeView) -> ResizeMode | None:
    """Find the TFLite mode that reads the same pixels with the same weights, or None."""
    op = view.op
    assert isinstance(op, Resize)
    agree = _nearest_agrees if op.mode == "nearest" else _linear_agrees
    sizes = spatial_sizes(view)
    return next((m for m in MODES if all(agree(op, m, *size) for size in sizes)), None)


# --- ONNX -----------------------------------------------------------------------


def source_coordinates(coordinates: str, size: int, count: int) -> Floats:
    """Compute where each of ``count`` output elements lies on an input of ``size`` elements."""
    index, ratio = np.arange(count, dtype=np.float64), size / count
    if coordinates == "align_corners":
        return index * (size - 1) / (count - 1) if count > 1 else np.zeros(1)
    if coordinates == "asymmetric":
        return index * ratio
    if coordinates == "pytorch_half_pixel" and count == 1:
        return np.zeros(1)
    return (index + 0.5) * ratio - 0.5


def _clamped(indices: npt.NDArray[np.floating[Any]], size: int) -> Indices:
    return np.asarray(np.clip(indices, 0, size - 1), np.int64)


# --- TFLite ---------------------------------------------------------------------


def _step(mode: ResizeMode, size: int, count: int) -> np.float32:
    """Compute input elements per output element, in float32 as the kernels do."""
    if mode.align_corners and count > 1:
        return np.float32(size - 1) / np.float32(count - 1)
    return np.float32(size) / np.float32(count)


def _tflite_nearest(mode: ResizeMode, size: int, count: int) -> Indices:
    offset = np.float32(0.5 if mode.half_pixel_centers else 0.0)
    where = (np.arange(count, dtype=np.float32) + offset) * _step(mode, size, count)
    rounded = np.floor(where + np.float32(0.5)) if mode.align_corners else np.floor(where)
    return _clamped(rounded, size)


def _tflite_linear(mode: ResizeMode, size: int, count: int) -> Floats:
    index, step = np.arange(count, dtype=np.float32), _step(mode, size, count)
    half = np.float32(0.5)
    where = (index + half) * step - half if mode.half_pixel_centers else index * step
    return np.asarray(np.clip(where, 0, size - 1), np.float64)


def _nearest_agrees(op: Resize, mode: ResizeMode, size: int, count: int) -> bool:
    return np.array_equal(nearest_indices(op, size, count), _tflite_nearest(mode, size, count))


def _linear_agrees(op: Resize, mode: ResizeMode, size: int, count: int) -> bool:
    wanted = np.clip(source_coordinates(op.coordinates, size, count), 0, size - 1)
    return np.allclose(wanted, _tflite_linear(mode, size, count), rtol=0, atol=1e-4 * max(1, size))
