"""Resize, and the operators that move channels to space and back."""

from __future__ import annotations

import numpy as np

from qhal.decisions import Code
from qhal.ir.graph import NodeView
from qhal.ir.ops import DepthToSpace, Resize, SpaceToDepth
from qhal_backends.tflite.emitter import Emitter
from qhal_backends.tflite.lowering.planes import close_plane, enter_plane, leave_plane
from qhal_backends.tflite.resizing import exact_mode, nearest_indices, spatial_sizes

_BUILTINS = {"nearest": "RESIZE_NEAREST_NEIGHBOR", "linear": "RESIZE_BILINEAR"}


def _resize(e: Emitter, view: NodeView) -> None:
    op = view.op
    assert isinstance(op, Resize)
    sizes = spatial_sizes(view)
    if e.flavour.upsample_points_by_tile and all(size == 1 for size, _ in sizes):
        _tile_point(e, view)
        return
    mode = exact_mode(view)
    if mode is None:
        _gather_rows_and_columns(e, view)
        return
    x, y = enter_plane(e, view.node.inputs[0]), leave_plane(e, view)
    wanted = e.integers(f"{view.node.name}/size", e.tensor(y).type.shape[1:-1])
    flags = {"alignCorners": mode.align_corners, "halfPixelCenters": mode.half_pixel_centers}
    e.emit(_BUILTINS[op.mode], [x, wanted], [y], **flags)
    close_plane(e, view, y)


def _tile_point(e: Emitter, view: NodeView) -> None:
    """An image of one pixel, repeated: the Edge TPU compiler maps it as TILE."""
    repeats = (1, *view.output().shape[1:-1], 1)
    e.decide(
        Code.DECOMPOSED,
        f"Resize {view.node.name}: its input is one pixel, so it is written as TILE {repeats}.",
    )
    inputs = [view.node.inputs[0], e.integers(f"{view.node.name}/repeats", repeats)]
    e.emit("TILE", inputs, view.node.outputs)


def _gather_rows_and_columns(e: Emitter, view: NodeView) -> None:
    """Nearest neighbours that TFLite's rounding does not give: one GATHER per dimension."""
    op = view.op
    assert isinstance(op, Resize) and op.mode == "nearest"
    e.decide(
        Code.DECOMPOSED,
        f"Resize {view.node.name}: TFLite has no nearest rounding like {op.coordinates} with "
        f"{op.nearest} at these sizes, so GATHER operators pick the elements.",
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
    """TFLite's order of channels is DCR; for CRD a GATHER reorders them first."""
    op = view.op
    assert isinstance(op, DepthToSpace)
    x = view.node.inputs[0]
    if op.mode == "CRD":
        x = _reorder_channels(e, view, op.block)
    e.emit("DEPTH_TO_SPACE", [x], view.node.outputs, blockSize=op.block)


def _reorder_channels(e: Emitter, view: NodeView, block: int) -> str:
    shape = view.input().shape
    depth = shape[-1] // block**2
    # CRD: channel = c * block**2 + position; DCR: channel = position * depth + c.
    picks = np.arange(shape[-1]).reshape(depth, block**2).T.ravel().astype(np.int32)
    e.decide(
        Code.DECOMPOSED,
        f"DepthToSpace {view.node.name}: TFLite has the order DCR, so a GATHER reorders the "
        f"{shape[-1]} channels.",
    )
    made = e.like(view.node.inputs[0], f"{view.node.name}/reordered", shape)
    indices = e.constant(f"{view.node.name}/channels", picks)
    e.emit("GATHER", [view.node.inputs[0], indices], [made], axis=3)
    return made


def _space_to_depth(e: Emitter, view: NodeView) -> None:
    assert isinstance(view.op, SpaceToDepth)
    e.emit("SPACE_TO_DEPTH", view.node.inputs, view.node.outputs, blockSize=view.op.block)


LOWERINGS = {Resize: _resize, DepthToSpace: _depth_to_space, SpaceToDepth: _space_to_depth}
