"""Convolutions and matrix products."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qhal.decisions import Code
from qhal.ir.dtypes import DType
from qhal.ir.graph import NodeView
from qhal.ir.ops import Conv, ConvTranspose, DepthwiseConv, FullyConnected, MatMul
from qhal.quant.arithmetic import bias_params
from qhal.quant.model import QuantParams
from qhal_backends.tflite.emitter import Emitter
from qhal_backends.tflite.flat import FlatPadding, OptionValue
from qhal_backends.tflite.lowering.activations import fused
from qhal_backends.tflite.lowering.pads import pad_explicitly
from qhal_backends.tflite.lowering.planes import (
    close_plane,
    enter_plane,
    leave_plane,
    pair,
    plane_shape,
)
from qhal_backends.tflite.padding import explicit_pads, implicit_padding
from qhal_backends.tflite.transposed import transposed_window
from qhal_backends.tflite.windows import convolution_axes

_BIAS_TYPES = {DType.INT8: DType.INT32, DType.UINT8: DType.INT32, DType.INT16: DType.INT64}


def _conv(e: Emitter, view: NodeView) -> None:
    op = view.op
    assert isinstance(op, Conv | DepthwiseConv)
    x = enter_plane(e, view.node.inputs[0])
    y = leave_plane(e, view)
    axes = convolution_axes(view)
    padding = implicit_padding(axes)
    if padding is None:
        x, padding = pad_explicitly(e, view, x, explicit_pads(axes)), FlatPadding.VALID
    options = _window_options(op, padding) | fused(op.activation)
    if isinstance(op, DepthwiseConv):
        options["depthMultiplier"] = op.multiplier
    builtin = "CONV_2D" if isinstance(op, Conv) else "DEPTHWISE_CONV_2D"
    e.emit(builtin, [x, _weight(e, view), _bias(e, view)], [y], **options)
    close_plane(e, view, y)


def _window_options(op: Conv | DepthwiseConv, padding: FlatPadding) -> dict[str, OptionValue]:
    strides, dilations = pair(op.strides), pair(op.dilations)
    return {
        "padding": padding,
        "strideH": strides[0],
        "strideW": strides[1],
        "dilationHFactor": dilations[0],
        "dilationWFactor": dilations[1],
    }


# --- operands -----------------------------------------------------------------


def _weight(e: Emitter, view: NodeView) -> str:
    """The weight in four dimensions, in the form that the kernel reads."""
    name = view.node.inputs[1]
    weight = e.tensor(name)
    shape = plane_shape(weight.type.shape)
    if len(weight.type.shape) == 3:
        assert weight.value is not None
        value = weight.value.reshape(shape)
        name = e.constant(f"{name}/plane", value, _with_plane_axis(weight.params))
    return name if _is_hybrid_kernel(view) or not _is_float(e, view) else e.floating(name)


def _with_plane_axis(params: QuantParams | None) -> QuantParams | None:
    """Scales along the output channels of (O, k, I) or (1, k, C), with an axis put in at 1."""
    if params is None or params.axis is None:
        return params
    return replace(params, axis=params.axis + 1 if params.axis else 0)


def _is_float(e: Emitter, view: NodeView) -> bool:
    return e.tensor(view.node.inputs[0]).type.dtype is DType.FLOAT32


def _is_hybrid_kernel(view: NodeView) -> bool:
    """True if the float kernel reads an integer weight itself (dynamic range)."""
    return view.input(1).dtype is DType.INT8 and not isinstance(view.op, ConvTranspose)


def _bias(e: Emitter, view: NodeView) -> str:
    """The bias; zeros where the node has none.

    CONV_2D reads an absent bias as zeros, but FULLY_CONNECTED without one is a later version,
    and the Edge TPU compiler was seen with models that have one only.
    """
    if view.has(2):
        name = view.node.inputs[2]
        return e.floating(name) if _is_float(e, view) else name
    source, weight = (e.tensor(name) for name in view.node.inputs[:2])
    channels = view.output().shape[-1]
    hint = f"{view.node.name}/zero_bias"
    if _is_float(e, view):
        return e.constant(hint, np.zeros(channels, np.float32))
    assert source.params is not None and weight.params is not None
    dtype = _BIAS_TYPES[source.type.dtype]
    params = bias_params(source.params, weight.params, dtype)
    return e.constant(hint, np.zeros(channels, dtype.numpy), params)


# --- transposed convolution -----------------------------------------------------


def _conv_transpose(e: Emitter, view: NodeView) -> None:
    op = view.op
    assert isinstance(op, ConvTranspose)
    window = transposed_window(view)
    x = enter_plane(e, view.node.inputs[0])
    y = leave_plane(e, view)
    full = y if window.crop is None else _uncropped(e, view, y, window.sizes)
    shape = e.integers(f"{full}/shape", e.tensor(full).type.shape)
    inputs = [shape, _weight(e, view), x]
    if view.has(2):
        inputs.append(_bias(e, view))
    height, width = pair(op.strides)
    options = {"padding": window.padding, "strideH": height, "strideW": width}
    e.emit("TRANSPOSE_CONV", inputs, [full], **options, **fused(op.activation))
    if window.crop is not None:
        begin = e.integers(f"{y}/begin", (0, *window.crop, 0))
        e.emit("SLICE", [full, begin, e.integers(f"{y}/size", e.tensor(y).type.shape)], [y])
    close_plane(e, view, y)


def _uncropped(e: Emitter, view: NodeView, y: str, sizes: tuple[int, ...]) -> str:
    shape = e.tensor(y).type.shape
    e.decide(
        Code.DECOMPOSED,
        f"ConvTranspose {view.node.name}: its pads are neither SAME nor VALID, so it makes {sizes} "
        f"and a SLICE cuts {shape[1:-1]} out.",
    )
    return e.like(y, f"{y}/uncropped", (shape[0], *sizes, shape[-1]))


# --- matrix products ------------------------------------------------------------


def _fully_connected(e: Emitter, view: NodeView) -> None:
    op = view.op
    assert isinstance(op, FullyConnected)
    options = fused(op.activation)
    if len(view.input().shape) != 2:
        options["keepNumDims"] = True
    if _is_float(e, view) and _is_hybrid_kernel(view):
        options["asymmetricQuantizeInputs"] = True
    inputs = [view.node.inputs[0], _weight_matrix(e, view), _bias(e, view)]
    e.emit("FULLY_CONNECTED", inputs, [view.node.outputs[0]], **options)


def _weight_matrix(e: Emitter, view: NodeView) -> str:
    name = view.node.inputs[1]
    return name if _is_hybrid_kernel(view) or not _is_float(e, view) else e.floating(name)


def _matmul(e: Emitter, view: NodeView) -> None:
    e.emit("BATCH_MATMUL", view.node.inputs, view.node.outputs)


LOWERINGS = {
    Conv: _conv,
    DepthwiseConv: _conv,
    ConvTranspose: _conv_transpose,
    FullyConnected: _fully_connected,
    MatMul: _matmul,
}
