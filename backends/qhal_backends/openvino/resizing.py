"""Which elements OpenVINO copies when it resizes by mode nearest, and whether they are ONNX's.

Both are computed for the sizes at hand, in float32 as OpenVINO's CPU plugin does it
(src/plugins/intel_cpu/src/nodes/interpolate.cpp, coordTransToInput and nearestRound; the tests
compare them with the plugin).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from qhal.ir.graph import NodeView
from qhal.ir.ops import Resize
from qhal.ir.resampling import Indices, Single, coordinates, nearest_indices

_HALF = np.float32(0.5)

_ROUNDINGS: Mapping[str, Callable[[Single], Single]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda x: np.ceil(x - _HALF),
    "round_prefer_ceil": lambda x: np.floor(x + _HALF),
}


def copies_the_same(view: NodeView) -> bool:
    """Return True if OpenVINO copies the elements that ONNX Runtime does, in every dimension."""
    op = view.op
    assert isinstance(op, Resize)
    sizes = zip(view.input().shape[2:], op.sizes, strict=True)
    return all(
        np.array_equal(nearest_indices(op, *pair), openvino_indices(op, *pair)) for pair in sizes
    )


def openvino_indices(op: Resize, size: int, count: int) -> Indices:
    """Return the element of ``size`` that OpenVINO copies to each of ``count`` results."""
    place = coordinates(op.coordinates, size, count)
    if op.coordinates == "align_corners":
        step = np.float32(size - 1) / np.float32(max(count - 1, 1))
        place = np.arange(count, dtype=np.float32) * step
    return np.clip(_ROUNDINGS[op.nearest](place), 0, size - 1).astype(np.int64)
