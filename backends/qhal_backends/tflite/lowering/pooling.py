"""Pooling."""

from __future__ import annotations

from math import prod

import numpy as np

from qhal.decisions import Code
from qhal.ir.dtypes import DType
from qhal.ir.graph import NodeView
from qhal.ir.ops import AveragePool, MaxPool
from qhal.quant.arithmetic import bias_params
from qhal.quant.model import QuantParams
from qhal_backends.tflite.emitter import Emitter
from qhal_backends.tflite.flat import FlatPadding, OptionValue
from qhal_backends.tflite.lowering.pads import pad_explicitly, pad_with_lowest
from qhal_backends.tflite.padding import Axis, explicit_pads, implicit_padding
from qhal_backends.tflite.windows import pool_axes


def _max_pool(e: Emitter, view: NodeView) -> None:
    x, y = view.node.inputs[0], view.node.outputs[0]
    axes = pool_axes(view)
    padding = implicit_padding(axes)
    if padding is None:
        x, padding = pad_with_lowest(e, view, x, explicit_pads(axes)), FlatPadding.VALID
    e.emit("MAX_POOL_2D", [x], [y], **_options(view, padding))


def _options(view: NodeView, padding: FlatPadding) -> dict[str, OptionValue]:
    op = view.op
    assert isinstance(op, MaxPool | AveragePool)
    return {
        "padding": padding,
        "filterHeight": op.kernel[0],
        "filterWidth": op.kernel[1],
        "strideH": op.strides[0],
        "strideW": op.strides[1],
    }


def _average_pool(e: Emitter, view: NodeView) -> None:
    """Write a mean; TFLite never counts padding, so a PAD makes counted padding input."""
    op = view.op
    assert isinstance(op, AveragePool)
    x, y = view.node.inputs[0], view.node.outputs[0]
    axes = pool_axes(view)
    padding = implicit_padding(axes)
    if e.flavor.for_xnnpack and _rounds_alike(e, view, op):
        _average_faster(e, view, axes)
        return
    if padding is FlatPadding.VALID or (padding is not None and not op.count_include_pad):
        e.emit("AVERAGE_POOL_2D", [x], [y], **_options(view, padding))
        return
    padded = pad_explicitly(e, view, x, explicit_pads(axes))
    e.emit("AVERAGE_POOL_2D", [padded], [y], **_options(view, FlatPadding.VALID))


def _rounds_alike(e: Emitter, view: NodeView, op: AveragePool) -> bool:
    """Return True if other operators compute the same mean of 8-bit integers, bit for bit.

    The number of taps must be odd. Otherwise a mean may lie halfway between two integers, which
    the kernels round differently.
    """
    is_int8 = e.tensor(view.node.outputs[0]).type.dtype is DType.INT8
    all_count = op.count_include_pad or not any(op.pads)
    return is_int8 and all_count and prod(op.kernel) % 2 == 1


def _average_faster(e: Emitter, view: NodeView, axes: list[Axis]) -> None:
    """Write MEAN over the whole input, or DEPTHWISE_CONV_2D over windows.

    XNNPACK has no 8-bit AVERAGE_POOL_2D, and the builtin kernel is scalar.
    """
    op = view.op
    assert isinstance(op, AveragePool)
    if op.kernel == view.input().shape[1:-1] and not any(op.pads):
        inputs = [view.node.inputs[0], e.integers(f"{view.node.name}/axes", (1, 2))]
        e.emit("MEAN", inputs, view.node.outputs, keepDims=True)
    else:
        _average_by_convolution(e, view, op, axes)


def _average_by_convolution(e: Emitter, view: NodeView, op: AveragePool, axes: list[Axis]) -> None:
    """Write a DEPTHWISE_CONV_2D whose weights are all 1 with the scale 1 / taps."""
    name = view.node.name
    source, channels = e.tensor(view.node.inputs[0]), view.input().shape[-1]
    assert source.params is not None
    e.decide(
        Code.DECOMPOSED,
        f"AveragePool {name} is written as a depthwise convolution, which LiteRT runs faster.",
    )
    share = QuantParams.per_tensor(DType.INT8, 1 / prod(op.kernel), 0)
    weight = e.constant(f"{name}/ones", np.ones((1, *op.kernel, channels), np.int8), share)
    params = bias_params(source.params, share, DType.INT32)
    bias = e.constant(f"{name}/zero_bias", np.zeros(channels, np.int32), params)
    x, padding = view.node.inputs[0], implicit_padding(axes)
    if padding is None:
        x, padding = pad_explicitly(e, view, x, explicit_pads(axes)), FlatPadding.VALID
    options = {"padding": padding, "strideH": op.strides[0], "strideW": op.strides[1]}
    inputs = [x, weight, bias]
    e.emit("DEPTHWISE_CONV_2D", inputs, view.node.outputs, depthMultiplier=1, **options)


LOWERINGS = {MaxPool: _max_pool, AveragePool: _average_pool}
