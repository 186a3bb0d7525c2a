"""Cases of convolutions, poolings and what else moves a window."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from tests.operators.cases.case import Case, Operand, Shape, f32, floats, i64

_AUTO = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
_SPATIAL: tuple[Shape, ...] = ((11,), (7, 8), (5, 4, 6))


def windows() -> Iterator[Case]:
    """Yield the cases."""
    yield from _convolutions()
    yield from _transposed()
    yield from _pools()
    yield from _others()


def _convolutions() -> Iterator[Case]:
    for spatial, auto, stride, group in product(_SPATIAL, _AUTO, (1, 2), (1, 2, 4)):
        rank = len(spatial)
        weight = floats(8, 4 // group, *(3,) * rank)
        attributes: dict[str, Any] = {"auto_pad": auto, "strides": [stride] * rank, "group": group}
        yield Case("Conv", ((1, 4, *spatial), weight, floats(8)), attributes, since=7)
    for attributes in (
        {"pads": [1, 0, 2, 1]},
        {"dilations": [2, 1], "pads": [2, 1, 2, 1]},
        {"auto_pad": "SAME_UPPER", "dilations": [2, 2]},
        {"kernel_shape": [3, 3], "strides": [3, 2]},
    ):
        yield Case("Conv", ((2, 4, 7, 8), floats(5, 4, 3, 3)), attributes, since=7)


def _transposed() -> Iterator[Case]:
    attributes: dict[str, Any]
    operands: tuple[Operand, ...]
    for auto, stride, spatial in product(_AUTO, (1, 2, 3), _SPATIAL[:2]):
        rank = len(spatial)
        attributes = {"auto_pad": auto, "strides": [stride] * rank}
        operands = ((1, 4, *spatial), floats(4, 3, *(3,) * rank), floats(3))
        yield Case("ConvTranspose", operands, attributes, since=7)
    for attributes in (
        {"group": 2},
        {"pads": [1, 0, 0, 1], "strides": [2, 2]},
        {"output_padding": [1, 0], "strides": [2, 2]},
        {"pads": [1, 1, 1, 1], "strides": [2, 2]},
        {"pads": [1, 1, 1, 1], "output_padding": [1, 1], "strides": [2, 2]},
        {"output_shape": [14, 15], "strides": [2, 2]},
        {"output_shape": [14, 15], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
        {"output_shape": [14, 16], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"dilations": [2, 2]},
        {"dilations": [2, 1], "strides": [1, 2], "pads": [1, 1, 1, 1]},
        {"dilations": [2, 2], "auto_pad": "SAME_UPPER"},
    ):
        operands = ((1, 4, 7, 8), floats(4, 2, 3, 3))
        yield Case("ConvTranspose", operands, attributes, since=7)
    operands = ((1, 4, 7, 8), floats(4, 2, 1, 1))
    yield Case("ConvTranspose", operands, {"strides": [2, 2]}, since=7, label="gaps")
    yield Case("ConvTranspose", ((1, 4, 4, 5, 3), floats(4, 2, 3, 2, 3)), since=7)


def _pools() -> Iterator[Case]:
    attributes: dict[str, Any]
    window: dict[str, Any]
    padded: dict[str, Any]
    ceil_same: dict[str, Any]
    for spatial, auto, stride, kind in product(_SPATIAL, _AUTO, (1, 2, 3), ("Max", "Average")):
        rank = len(spatial)
        attributes = {"kernel_shape": [3] * rank, "strides": [stride] * rank, "auto_pad": auto}
        yield Case(f"{kind}Pool", ((1, 3, *spatial),), attributes, since=7)
    for pads, ceil, kind, stride in product(
        ([0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 0, 1], [0, 0, 2, 2]), (0, 1), ("Max", "Average"), (2, 3)
    ):
        window = {"kernel_shape": [3, 3], "strides": [stride] * 2, "pads": pads, "ceil_mode": ceil}
        for counts in (0, 1) if kind == "Average" else (None,):
            attributes = window if counts is None else {**window, "count_include_pad": counts}
            yield Case(f"{kind}Pool", ((1, 3, 8, 9),), attributes, since=10)
    for counts, auto in product((0, 1), _AUTO[1:3]):
        attributes = {"kernel_shape": [2, 3], "auto_pad": auto, "count_include_pad": counts}
        yield Case("AveragePool", ((1, 3, 8, 9),), attributes, since=7)
    ceil_same = {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}
    for ceil in (0, 1):
        yield Case("AveragePool", ((1, 3, 8, 9),), {**ceil_same, "ceil_mode": ceil}, since=10)
    for ceil, dilation in product((0, 1), (2, 3)):
        attributes = {"kernel_shape": [2, 3], "dilations": [dilation, 2], "ceil_mode": ceil}
        yield Case("MaxPool", ((1, 3, 8, 9),), {**attributes, "strides": [2, 1]}, since=10)
        yield Case("AveragePool", ((1, 3, 8, 9),), attributes, since=19)
    attributes = {"kernel_shape": [3, 3], "dilations": [2, 2], "pads": [1, 1, 1, 1]}
    for counts in (0, 1):
        given = {**attributes, "count_include_pad": counts}
        yield Case("AveragePool", ((1, 3, 8, 9),), given, since=19)
    for order in (0, 1):
        attributes = {"kernel_shape": [2, 2], "strides": [2, 2], "storage_order": order}
        yield Case("MaxPool", ((1, 3, 6, 8),), attributes, since=8)
        yield Case("MaxPool", ((1, 3, 6, 8),), attributes, since=8, results=("y", "i"))
    for kind in ("GlobalAveragePool", "GlobalMaxPool"):
        for spatial in _SPATIAL:
            yield Case(kind, ((1, 3, *spatial),), since=7)
    for p in (1, 2, 3):
        yield Case("GlobalLpPool", ((1, 3, 5, 6),), {"p": p}, since=7)
        yield Case("LpPool", ((1, 3, 5, 6),), {"p": p, "kernel_shape": [2, 3]}, since=7)
    padded = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}
    yield Case("LpPool", ((1, 3, 8, 8),), padded, since=7)
    yield Case("LpPool", ((1, 3, 8, 8),), {**padded, "ceil_mode": 1}, since=18)
    yield Case("LpPool", ((1, 3, 8, 8),), {**padded, "dilations": [2, 2]}, since=18)
    yield Case("LpPool", ((1, 3, 8, 8),), {"kernel_shape": [3, 3], "auto_pad": "SAME_LOWER"}, 11)


def _others() -> Iterator[Case]:
    attributes: dict[str, Any]
    operands: tuple[Operand, ...]
    for size, alpha, beta, bias in ((3, 1e-4, 0.75, 1.0), (5, 0.5, 0.5, 2.0), (2, 0.3, 1.0, 1.0)):
        attributes = {"size": size, "alpha": alpha, "beta": beta, "bias": bias}
        yield Case("LRN", ((1, 6, 4, 5),), attributes, since=7)
    yield Case("LRN", ((1, 6, 4, 5),), {"size": 4}, since=7)
    for block, mode in product((2, 3), ("DCR", "CRD")):
        attributes = {"blocksize": block, "mode": mode}
        yield Case("DepthToSpace", ((1, 2 * block * block, 2, 3),), attributes, since=11)
        yield Case("SpaceToDepth", ((1, 2, 2 * block, 3 * block),), {"blocksize": block}, since=7)
    boxes, batch = f32(0.3, 0.5, 4.1, 5.2, 1, 0, 5.5, 3.3).reshape(2, 4), i64(0, 0)
    for mode, coordinates, ratio in product(
        ("avg", "max"), ("half_pixel", "output_half_pixel"), (0, 2)
    ):
        attributes = {"mode": mode, "coordinate_transformation_mode": coordinates}
        more = {"output_height": 3, "output_width": 2, "sampling_ratio": ratio}
        operands = ((1, 3, 7, 6), boxes, batch)
        yield Case("RoiAlign", operands, {**attributes, **more}, since=16)
    yield Case("RoiAlign", ((1, 3, 7, 6), boxes, batch), {"spatial_scale": 0.5}, since=10)
    rois = f32(0, 0, 0, 4, 5, 0, 1, 1, 3, 3).reshape(2, 5)
    yield Case("MaxRoiPool", ((1, 3, 7, 6), rois), {"pooled_shape": [2, 2]}, since=7)
    grids = (("linear", "nearest", "cubic"), ("zeros", "border", "reflection"), (0, 1))
    for mode, padding, corners in product(*grids):
        attributes = {"mode": mode, "padding_mode": padding, "align_corners": corners}
        operands = ((1, 2, 4, 5), np.float32(1.3) * floats(1, 3, 3, 2).astype(np.float32))
        yield Case("GridSample", operands, attributes, since=20)
        old = {**attributes, "mode": {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)}
        yield Case("GridSample", ((1, 2, 4, 5), (1, 3, 3, 2)), old, since=16, until=19)
    for corners in (0, 1):
        for sizes in ((1, 1, 4, 5), (3, 2, 4, 5), (1, 1, 1, 5), (2, 1, 3, 4, 5)):
            operands = ((sizes[0], len(sizes) - 2, len(sizes) - 1), i64(*sizes))
            yield Case("AffineGrid", operands, {"align_corners": corners}, since=20)
    yield Case("Col2Im", ((1, 12, 20), i64(5, 6), i64(2, 2)), {}, since=18)
    yield Case(
        "MaxUnpool",
        ((1, 1, 2, 2), i64(5, 7, 13, 15).reshape(1, 1, 2, 2)),
        {"kernel_shape": [2, 2], "strides": [2, 2]},
        since=9,
    )
    yield Case("Dropout", ((2, 3),), {}, since=13)
