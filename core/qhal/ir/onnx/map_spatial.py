"""Pooling, resampling and the exchange of space and channels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import floor

import numpy as np
import onnx
from onnx import helper

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, TensorType
from qhal.ir.onnx.call import ImportCall, Mapper, Unsupported, normal_axis
from qhal.ir.onnx.fold import check_size
from qhal.ir.onnx.windows import OnnxWindow, ceil_pads, explicit_pads, window
from qhal.ir.ops import Ints


def _pool_window(call: ImportCall) -> tuple[OnnxWindow, Ints]:
    kernel = call.ints("kernel_shape")
    if kernel is None:
        raise ValueError("kernel_shape is missing")
    frame = window(call, kernel)
    if any(d != 1 for d in frame.dilations):
        raise Unsupported(f"its dilations are {frame.dilations}")
    return frame, explicit_pads(call, frame)


def _max_pool(call: ImportCall) -> str:
    frame, pads = _pool_window(call)
    if call.used(1):
        raise Unsupported("the indices of the maxima are used")
    if call.flag("ceil_mode"):
        pads = ceil_pads(frame, pads)
    return call.result(ops.MaxPool(frame.kernel, frame.strides, pads), call.tensor(0))


def _average_pool(call: ImportCall) -> str:
    """Emit a Pad for padding that counts, where ``ceil_mode`` adds some that does not."""
    frame, pads = _pool_window(call)
    counted = call.flag("count_include_pad")
    wider = ceil_pads(frame, pads) if call.flag("ceil_mode") else pads
    x = call.tensor(0)
    if counted and wider != pads:
        x = call.inner(ops.Pad(_with_outer(pads)), x) if any(pads) else x
        wider, counted = tuple(w - p for w, p in zip(wider, pads, strict=True)), False
    # Without padding both ways of counting are one.
    op = ops.AveragePool(frame.kernel, frame.strides, wider, counted and any(wider))
    return call.result(op, x)


def _with_outer(pads: Ints) -> Ints:
    """Return pads of all dimensions from those of the spatial ones."""
    half = len(pads) // 2
    return (0, 0, *pads[:half], 0, 0, *pads[half:])


def _global_pool(function: str, call: ImportCall) -> str:
    axes = tuple(range(2, call.rank()))
    return call.result(ops.Reduce(function, axes, keepdims=True), call.tensor(0))


# --- resampling -----------------------------------------------------------------


def _resize(call: ImportCall) -> str:
    mode = {"cubic": "", "bilinear": "linear"}.get(m := call.text("mode", "nearest"), m)
    if mode not in ("nearest", "linear"):
        raise Unsupported(f"it resamples by {call.text('mode', 'nearest')} interpolation")
    if mode == "nearest" and _rounds_both_ways(call):
        return _picked(call)
    coordinates = _coordinates(call)
    sizes = _target_sizes(call, coordinates)
    if sizes[:2] != call.shape()[:2] or len(sizes) < 3:
        raise Unsupported(f"it resizes {call.shape()} to {sizes}, not only spatial dimensions")
    if sizes == call.shape():
        return call.tensor(0)
    op = ops.Resize(mode, sizes[2:], coordinates, _nearest(call))
    return call.result(op, call.tensor(0))


def _coordinates(call: ImportCall) -> str:
    """Name the coordinate mode; before opset 11, ``x_original = x_resized / scale``."""
    if call.opset < 11:
        return "asymmetric"
    found = call.text("coordinate_transformation_mode", "half_pixel")
    if found not in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
        raise Unsupported(f"its coordinate mode is {found}")
    if call.flag("antialias") or call.flag("exclude_outside"):
        raise Unsupported("it filters when it shrinks")
    return found


def _nearest(call: ImportCall) -> str:
    """Name the rounding; before opset 11, down where it grows and up where it shrinks."""
    if call.opset >= 11:
        return call.text("nearest_mode", "round_prefer_floor")
    scales = stated_scales(call)
    return "floor" if min(scales) >= 1 else "ceil"


def _rounds_both_ways(call: ImportCall) -> bool:
    """Return True for a Resize from before opset 11 that grows one dimension, shrinks another."""
    scales = [1.0] if call.opset >= 11 else stated_scales(call)
    return min(scales, default=1) < 1 < max(scales, default=1)


def _picked(call: ImportCall) -> str:
    """Take elements along one axis after the other: down where it grows, up where it shrinks."""
    x, shape = call.tensor(0), call.shape()
    for axis, scale in enumerate(stated_scales(call)):
        if scale == 1:
            continue
        count = floor(shape[axis] * np.float32(scale))
        check_size(call, TensorType((count,), DType.INT64))
        places = np.arange(count, dtype=np.float32) / np.float32(scale)
        found = np.floor(places) if scale > 1 else np.ceil(places)
        rows = np.clip(found, 0, shape[axis] - 1).astype(np.int64)
        x = call.inner(ops.Gather(axis), x, call.const("rows", rows))
    return x


def _target_sizes(call: ImportCall, coordinates: str) -> Ints:
    """Return the whole output shape, from sizes or scales, for all or some axes."""
    shape = call.shape()
    found = call.ints("axes")
    axes = range(len(shape)) if found is None else [normal_axis(a, len(shape)) for a in found]
    sizes = list(shape)
    if call.has(3) and call.need(3, "sizes").size:
        policy = call.text("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            raise Unsupported(f"its keep_aspect_ratio_policy is {policy}")
        for axis, size in zip(axes, call.need(3, "sizes"), strict=True):
            sizes[axis] = int(size)
        return tuple(sizes)
    for axis, scale in zip(axes, stated_scales(call), strict=True):
        sizes[axis] = floor(shape[axis] * scale)
        # Coordinates follow the stated scale; sizes alone say the same only where it is exact.
        if sizes[axis] != shape[axis] * scale and coordinates != "align_corners":
            raise Unsupported(f"its scale {scale:g} does not divide axis {axis} of {shape}")
    return tuple(sizes)


def stated_scales(call: ImportCall) -> list[float]:
    """Read scales: an attribute of Upsample 7, operand 1 before opset 11, operand 2 since."""
    stated = call.attribute("scales")
    if stated is not None:
        return [float(s) for s in stated.as_floats()]
    return [float(s) for s in call.need(1 if call.opset < 11 else 2, "scales").reshape(-1)]


def renewed_resize(call: ImportCall) -> tuple[onnx.NodeProto, tuple[str, ...]]:
    """Return the Resize of opset 13 that a Resize or Upsample from before opset 11 is.

    Raises:
        Unsupported: no newer one rounds like it.
    """
    mode = {"bilinear": "linear"}.get(m := call.text("mode", "nearest"), m)
    operands = (call.tensor(0), "", call.const("scales", np.array(stated_scales(call), np.float32)))
    node = helper.make_node(
        "Resize",
        operands,
        [str(call.node.outputs[0].name)],
        call.name,
        mode=mode,
        coordinate_transformation_mode=_coordinates(call),
        nearest_mode=_nearest(call),
    )
    return node, operands


def _affine_grid(call: ImportCall) -> str:
    """Multiply the matrix of each image by constant coordinates: x, y and 1, or x, y, z and 1.

    The function by which ONNX defines it fails with one image.
    """
    batch, _, *sizes = (int(size) for size in call.need(1, "size").reshape(-1))
    check_size(call, TensorType((*sizes, len(sizes) + 1)))
    axes = [_normalized(size, call.flag("align_corners")) for size in sizes]
    grid = np.meshgrid(*axes, indexing="ij")[::-1]
    points = np.stack([*grid, np.ones(sizes)], -1).reshape(-1, len(sizes) + 1)
    base = call.const("points", points.astype(np.float32))
    product = call.inner(ops.FullyConnected(), call.tensor(0), base)
    turned = call.inner(ops.Transpose((0, 2, 1)), product)
    return call.result(ops.Reshape((batch, *sizes, len(sizes))), turned)


def _normalized(size: int, corners: bool) -> Array:
    """Return the coordinates of a dimension between -1 and 1: of corners, or of middles."""
    if corners:
        return np.linspace(-1, 1, size) if size > 1 else np.ones(1)
    return np.asarray((2 * np.arange(size) + 1) / size - 1)


def _depth_to_space(call: ImportCall) -> str:
    op = ops.DepthToSpace(call.integer("blocksize", 0), call.text("mode", "DCR"))
    return call.result(op, call.tensor(0))


def _space_to_depth(call: ImportCall) -> str:
    if call.text("mode", "DCR") != "DCR":
        raise Unsupported(f"its mode is {call.text('mode', 'DCR')}")
    return call.result(ops.SpaceToDepth(call.integer("blocksize", 0)), call.tensor(0))


SPATIAL: Mapping[str, Mapper] = {
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": partial(_global_pool, "Mean"),
    "GlobalMaxPool": partial(_global_pool, "Max"),
    "Resize": _resize,
    "Upsample": _resize,
    "AffineGrid": _affine_grid,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}
