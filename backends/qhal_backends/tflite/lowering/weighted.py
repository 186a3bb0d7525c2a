"""Convolutions and matrix products."""

from __future__ import annotations

from math import prod

import numpy as np

from qhal.decisions import Code
from qhal.ir.dtypes import DType
from qhal.ir.graph import NodeView
from qhal.ir.ops import Conv, ConvTranspose, DepthwiseConv, FullyConnected, MatMul
from qhal.quant.arithmetic import bias_params
from qhal_backends.tflite.emitter import Emitter
from qhal_backends.tflite.flat import FlatPadding, OptionValue
from qhal_backends.tflite.lowering.activations import fused
from qhal_backends.tflite.lowering.pads import pad_explicitly
from qhal_backends.tflite.lowering.shapes import reshape
from qhal_backends.tflite.padding import explicit_pads, implicit_padding
from qhal_backends.tflite.transposed import transposed_window
from qhal_backends.tflite.windows import convolution_axes

_BIAS_TYPES = {DType.INT8: DType.INT32, DType.UINT8: DType.INT32, DType.INT16: DType.INT64}


def _conv(e: Emitter, view: NodeView) -> None:
    op = view.op
    assert isinstance(op, Conv | DepthwiseConv)
    x, y = view.node.inputs[0], view.node.outputs[0]
    axes = convolution_axes(view)
    padding = implicit_padding(axes)
    if padding is None:
        x, padding = pad_explicitly(e, view, x, explicit_pads(axes)), FlatPadding.VALID
    options = _window_options(op, padding) | fused(op.activation)
    if isinstance(op, DepthwiseConv):
        options["depthMultiplier"] = op.multiplier
    inputs = [x, _weight(e, view), _bias(e, view)]
    if isinstance(op, Conv) and op.groups > 1 and e.flavor.groups_apart:
        _groups_apart(e, view, inputs, options)
        return
    e.emit("CONV_2D" if isinstance(op, Conv) else "DEPTHWISE_CONV_2D", inputs, [y], **options)


def _groups_apart(
    e: Emitter, view: NodeView, inputs: list[str], options: dict[str, OptionValue]
) -> None:
    """Write SPLIT, one CONV_2D per group, and CONCATENATION: they give the same integers."""
    node, (y,) = view.node, view.node.outputs
    groups = getattr(view.op, "groups", 1)
    e.decide(
        Code.DECOMPOSED,
        f"Conv {node.name}: the target does not read the version of CONV_2D that has groups, so "
        f"it is written as {groups} convolutions.",
    )
    shape, made = e.tensor(inputs[0]).type.shape, e.tensor(y).type.shape
    part, slab = (*shape[:-1], shape[-1] // groups), (*made[:-1], made[-1] // groups)
    parts = [e.like(inputs[0], f"{node.name}/in{i}", part) for i in range(groups)]
    slabs = [e.like(y, f"{node.name}/out{i}", slab) for i in range(groups)]
    axis = e.integers(f"{node.name}/axis", len(shape) - 1)
    e.emit("SPLIT", [axis, inputs[0]], parts, numSplits=groups)
    for index, (source, result) in enumerate(zip(parts, slabs, strict=True)):
        channels = slice(index * slab[-1], (index + 1) * slab[-1])
        weight, bias = (e.part(name, channels) for name in inputs[1:])
        e.emit("CONV_2D", [source, weight, bias], [result], **options)
    e.emit("CONCATENATION", slabs, [y], axis=len(shape) - 1)


def _window_options(op: Conv | DepthwiseConv, padding: FlatPadding) -> dict[str, OptionValue]:
    return {
        "padding": padding,
        "strideH": op.strides[0],
        "strideW": op.strides[1],
        "dilationHFactor": op.dilations[0],
        "dilationWFactor": op.dilations[1],
    }


# --- operands -----------------------------------------------------------------


def _weight(e: Emitter, view: NodeView) -> str:
    """Return the weight in the form that the kernel reads."""
    name = view.node.inputs[1]
    return name if _is_hybrid_kernel(view) or not _is_float(e, view) else e.floating(name)


def _is_float(e: Emitter, view: NodeView) -> bool:
    return e.tensor(view.node.inputs[0]).type.dtype is DType.FLOAT32


def _is_hybrid_kernel(view: NodeView) -> bool:
    """Return True if the float kernel reads an integer weight itself (dynamic range)."""
    stored = view.input(1).dtype
    if stored is DType.INT4:
        return isinstance(view.op, FullyConnected)
    return stored is DType.INT8 and isinstance(view.op, Conv | FullyConnected)


def _bias(e: Emitter, view: NodeView) -> str:
    """Return the bias; zeros where the node has none.

    CONV_2D reads an absent bias as zeros. But FULLY_CONNECTED without one is a later version, and
    the Edge TPU compiler was seen only with models that have one.
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
    x, y = view.node.inputs[0], view.node.outputs[0]
    full = y if window.crop is None else _uncropped(e, view, y, window.sizes)
    shape = e.integers(f"{full}/shape", e.tensor(full).type.shape)
    inputs = [shape, _weight(e, view), x]
    if view.has(2):
        inputs.append(_bias(e, view))
    height, width = op.strides
    options = {"padding": window.padding, "strideH": height, "strideW": width}
    e.emit("TRANSPOSE_CONV", inputs, [full], **options, **fused(op.activation))
    if window.crop is not None:
        begin = e.integers(f"{y}/begin", (0, *window.crop, 0))
        e.emit("SLICE", [full, begin, e.integers(f"{y}/size", e.tensor(y).type.shape)], [y])


def _uncropped(e: Emitter, view: NodeView, y: str, sizes: tuple[int, ...]) -> str:
    shape = e.tensor(y).type.shape
    e.decide(
        Code.DECOMPOSED,
        f"ConvTranspose {view.node.name}: its pads are neither SAME nor VALID, so it computes "
        f"{sizes}, and a SLICE cuts out {shape[1:-1]}.",
    )
    return e.like(y, f"{y}/uncropped", (shape[0], *sizes, shape[-1]))


# --- matrix products ------------------------------------------------------------


def _fully_connected(e: Emitter, view: NodeView) -> None:
    """Write FULLY_CONNECTED on matrices; other ranks are reshaped, which moves no data.

    The option ``keep_num_dims`` would avoid that, but is a later version, and tflite-runtime 2.14
    computes wrong results with it and per-axis weights.
    """
    op = view.op
    assert isinstance(op, FullyConnected)
    options = fused(op.activation)
    if _is_float(e, view) and _is_hybrid_kernel(view):
        options["asymmetricQuantizeInputs"] = True
    x, y = view.node.inputs[0], view.node.outputs[0]
    rows, made = _as_matrix(e, x), _like_matrix(e, y)
    e.emit("FULLY_CONNECTED", [rows, _weight(e, view), _bias(e, view)], [made], **options)
    if made != y:
        reshape(e, made, y)


def _matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    return (prod(shape[:-1]), shape[-1])


def _as_matrix(e: Emitter, x: str) -> str:
    """Reshape the activation to (rows, K)."""
    made = _like_matrix(e, x)
    if made != x:
        reshape(e, x, made)
    return made


def _like_matrix(e: Emitter, name: str) -> str:
    shape = e.tensor(name).type.shape
    return name if len(shape) == 2 else e.like(name, f"{name}/matrix", _matrix_shape(shape))


def _matmul(e: Emitter, view: NodeView) -> None:
    e.emit("BATCH_MATMUL", view.node.inputs, view.node.outputs)


LOWERINGS = {
    Conv: _conv,
    DepthwiseConv: _conv,
    ConvTranspose: _conv_transpose,
    FullyConnected: _fully_connected,
    MatMul: _matmul,
}
