"""Pooling, resampling and the exchange of space and channels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import floor

from qhal.ir import ops
from qhal.ir.onnx.call import ImportCall, Mapper, Unsupported, normal_axis
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
    frame, pads = _pool_window(call)
    counted = call.flag("count_include_pad")
    if call.flag("ceil_mode"):
        wider = ceil_pads(frame, pads)
        if counted and wider != pads:
            raise Unsupported("its own pads count in the mean, but those of ceil_mode do not")
        pads = wider
    # Without padding both ways of counting are one.
    counted = counted and any(pads)
    op = ops.AveragePool(frame.kernel, frame.strides, pads, counted)
    return call.result(op, call.tensor(0))


def _global_pool(function: str, call: ImportCall) -> str:
    axes = tuple(range(2, call.rank()))
    return call.result(ops.Reduce(function, axes, keepdims=True), call.tensor(0))


# --- resampling -----------------------------------------------------------------


def _resize(call: ImportCall) -> str:
    mode = {"cubic": "", "bilinear": "linear"}.get(m := call.text("mode", "nearest"), m)
    if mode not in ("nearest", "linear"):
        raise Unsupported(f"it resamples by {call.text('mode', 'nearest')} interpolation")
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
    return "floor" if call.opset < 11 else call.text("nearest_mode", "round_prefer_floor")


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
    for axis, scale in zip(axes, _scales(call), strict=True):
        sizes[axis] = floor(shape[axis] * scale)
        # Coordinates follow the stated scale; sizes alone say the same only where it is exact.
        if sizes[axis] != shape[axis] * scale and coordinates != "align_corners":
            raise Unsupported(f"its scale {scale:g} does not divide axis {axis} of {shape}")
    return tuple(sizes)


def _scales(call: ImportCall) -> list[float]:
    """Read scales: an attribute of Upsample 7, operand 1 before opset 11, operand 2 since."""
    stated = call.attribute("scales")
    if stated is not None:
        return [float(s) for s in stated.as_floats()]
    return [float(s) for s in call.need(1 if call.opset < 11 else 2, "scales").reshape(-1)]


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
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}
