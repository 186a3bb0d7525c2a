"""Resize, and the operators that move channels to space and back."""

from __future__ import annotations

import numpy as np

from qhal.decisions import Code
from qhal.ir.graph import NodeView
from qhal.ir.ops import DepthToSpace, Resize, SpaceToDepth
from qhal.ir.resampling import nearest_indices
from qhal_backends.tflite.emitter import Emitter
from qhal_backends.tflite.resizing import exact_mode, spatial_sizes

_BUILTINS = {"nearest": "RESIZE_NEAREST_NEIGHBOR", "linear": "RESIZE_BILINEAR"}


def _resize(e: Emitter, view: NodeView) -> None:
    op = view.op
    assert isinstance(op, Resize)
    sizes = spatial_sizes(view)
    if e.flavor.upsample_points_by_tile and all(size == 1 for size, _ in sizes):
        _tile_point(e, view)
        return
    mode = exact_mode(view)
    if mode is None:
        _gather_rows_and_columns(e, view)
        return
    inputs = [view.node.inputs[0], e.integers(f"{view.node.name}/size", op.sizes)]
    flags = {"alignCorners": mode.align_corners, "halfPixelCenters": mode.half_pixel_centers}
    e.emit(_BUILTINS[op.mode], inputs, view.node.outputs, **flags)


def _tile_point(e: Emitter, view: NodeView) -> None:
    """Repeat an image of one pixel by TILE, which the Edge TPU compiler maps."""
    repeats = (1, *view.output().shape[1:-1], 1)
    e.decide(
        Code.DECOMPOSED,
        f"Resize {view.node.name}: its input is one pixel, so it is written as TILE {repeats}.",
    )
    inputs = [view.node.inputs[0], e.integers(f"{view.node.name}/repeats", repeats)]
    e.emit("TILE", inputs, view.node.outputs)


def _gather_rows_and_columns(e: Emitter, view: NodeView) -> None:
    """Pick nearest neighbors that TFLite's rounding does not give: one GATHER per dimension."""
    op = view.op
    assert isinstance(op, Resize) and op.mode == "nearest"
    e.decide(
        Code.DECOMPOSED,
        f"Resize {view.node.name}: TFLite has no nearest-neighbor mode that equals "
        f"{op.coordinates} with {op.nearest} at these sizes, so it is written with GATHER.",
    )
    x, shape = view.node.inputs[0], list(view.input().shape)
    changed = [(a, s, c) for a, (s, c) in enumerate(spatial_sizes(view), 1) if s != c]
    for axis, size, count in changed:
        shape[axis] = count
        last = axis == changed[-1][0]
        made = view.node.outputs[0] if last else e.like(x, f"{view.node.name}/rows", shape)
        picks = nearest_indices(op, size, count).astype(np.int32)
        indices = e.constant(f"{view.node.name}/picks{axis}", picks)
        e.emit("GATHER", [x, indices], [made], axis=axis)
        x = made


def _depth_to_space(e: Emitter, view: NodeView) -> None:
    assert isinstance(view.op, DepthToSpace)
    e.emit("DEPTH_TO_SPACE", view.node.inputs, view.node.outputs, blockSize=view.op.block)


def _space_to_depth(e: Emitter, view: NodeView) -> None:
    assert isinstance(view.op, SpaceToDepth)
    e.emit("SPACE_TO_DEPTH", view.node.inputs, view.node.outputs, blockSize=view.op.block)


LOWERINGS = {Resize: _resize, DepthToSpace: _depth_to_space, SpaceToDepth: _space_to_depth}
