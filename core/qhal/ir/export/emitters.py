"""One function per canonical operator that writes it as ONNX nodes.

The functions name tensors through :class:`ExportCall`, not through the node, so that a backend can
give a node other operands than the graph has (dequantized ones, for instance).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from math import isinf, pi, sqrt
from typing import Any

from qhal.errors import InternalError
from qhal.ir import ops
from qhal.ir.export.call import ExportCall
from qhal.ir.export.newer import in_opset
from qhal.ir.export.writer import BASE_OPSET, element_type
from qhal.ir.ops import Layout

_REDUCE_AXES_OPERAND = 18
"""From this opset on, reductions other than ReduceSum take their axes as an operand."""

_GELU = 20
"""The first opset that has Gelu."""

_INT64_MIN = -(2**63)


def needed_opset(op: ops.Op) -> int:
    """Return the lowest version of ai.onnx in which :func:`emit` can write the operator."""
    match op:
        case ops.LayerNorm():
            return 17
        case ops.Opaque(domain=""):
            return max(BASE_OPSET, _since(op))
        case _:
            return BASE_OPSET


def _since(op: ops.Opaque) -> int:
    from onnx import defs

    try:
        return int(defs.get_schema(op.op_type, op.opset).since_version)
    except defs.SchemaError:
        return op.opset


@singledispatch
def emit(op: ops.Op, call: ExportCall) -> None:
    """Write one canonical operator.

    Raises:
        InternalError: the operator is a conversion or in NHWC layout.
    """
    raise InternalError(f"{op.kind} at {call.view.node.name!r} has no float ONNX form.")


# --- weighted operators -------------------------------------------------------


def _window(op: Any, call: ExportCall) -> dict[str, Any]:
    """Return the attributes that windows share; NHWC has no ONNX form."""
    if op.layout is not Layout.NCHW:
        raise InternalError(f"{op.kind} at {call.view.node.name!r} is NHWC; ONNX is NCHW.")
    return {"strides": op.strides, "pads": op.pads}


@emit.register
def _conv(op: ops.Conv, call: ExportCall) -> None:
    call.activated(
        op.activation,
        "Conv",
        **_window(op, call),
        dilations=op.dilations,
        group=op.groups,
        kernel_shape=call.view.input(1).shape[2:],
    )


@emit.register
def _depthwise_conv(op: ops.DepthwiseConv, call: ExportCall) -> None:
    call.activated(
        op.activation,
        "Conv",
        **_window(op, call),
        dilations=op.dilations,
        group=call.view.input(0).shape[1],
        kernel_shape=call.view.input(1).shape[2:],
    )


@emit.register
def _conv_transpose(op: ops.ConvTranspose, call: ExportCall) -> None:
    call.activated(
        op.activation,
        "ConvTranspose",
        **_window(op, call),
        dilations=op.dilations,
        output_padding=op.output_padding,
        group=op.groups,
        kernel_shape=call.view.input(1).shape[2:],
    )


@emit.register
def _fully_connected(op: ops.FullyConnected, call: ExportCall) -> None:
    """Write ``Gemm`` for matrices, ``MatMul`` and ``Add`` for other ranks."""
    if len(call.view.input(0).shape) == 2:
        call.activated(op.activation, "Gemm", transB=1)
        return
    weight = call.inner("Transpose", call.inputs[1:2], "weight", perm=(1, 0))
    if not call.view.has(2):
        call.activated(op.activation, "MatMul", (call.x, weight))
        return
    product = call.inner("MatMul", (call.x, weight), "product")
    call.activated(op.activation, "Add", (product, call.inputs[2]))


@emit.register
def _matmul(op: ops.MatMul, call: ExportCall) -> None:
    call.write("MatMul")


def _recurrent(op: Any, call: ExportCall, op_type: str, **attributes: Any) -> None:
    """Write the sequence lengths between bias and initial states, as ONNX has it."""
    inputs = (*call.inputs, "", "", "")
    call.write(
        op_type,
        (*inputs[:4], "", *inputs[4:]),
        hidden_size=op.hidden_size,
        direction=op.direction,
        **attributes,
    )


@emit.register
def _lstm(op: ops.Lstm, call: ExportCall) -> None:
    _recurrent(op, call, "LSTM")


@emit.register
def _gru(op: ops.Gru, call: ExportCall) -> None:
    extra: dict[str, Any] = {"linear_before_reset": int(op.linear_before_reset)}
    if op.candidate != "Tanh":
        directions = 2 if op.direction == "bidirectional" else 1
        extra["activations"] = ["Sigmoid", op.candidate] * directions
    _recurrent(op, call, "GRU", **extra)


@emit.register
def _rnn(op: ops.Rnn, call: ExportCall) -> None:
    directions = 2 if op.direction == "bidirectional" else 1
    _recurrent(op, call, "RNN", activations=[op.candidate] * directions)


# --- element-wise -------------------------------------------------------------


@emit.register(ops.Add)
@emit.register(ops.Sub)
@emit.register(ops.Mul)
@emit.register(ops.Div)
def _arithmetic(op: ops.Add | ops.Sub | ops.Mul | ops.Div, call: ExportCall) -> None:
    call.activated(op.activation, op.kind)


_COMPARE = {
    "==": "Equal",
    "<": "Less",
    "<=": "LessOrEqual",
    ">": "Greater",
    ">=": "GreaterOrEqual",
}


@emit.register
def _compare(op: ops.Compare, call: ExportCall) -> None:
    call.write(_COMPARE[op.relation])


# Operators without attributes -> the ONNX operator that is the same: one line each is enough.
_SAME_FORM: Mapping[type[ops.Op], str] = {
    ops.Pow: "Pow",
    ops.Maximum: "Max",
    ops.Minimum: "Min",
    ops.Where: "Where",
    ops.Relu: "Relu",
    ops.PRelu: "PRelu",
    ops.Sigmoid: "Sigmoid",
    ops.Tanh: "Tanh",
}


def _same_form(op: ops.Op, call: ExportCall) -> None:
    call.write(_SAME_FORM[type(op)])


for _operator in _SAME_FORM:
    emit.register(_operator, _same_form)


@emit.register
def _mod(op: ops.Mod, call: ExportCall) -> None:
    """Write a remainder; for floats, ONNX has it with the sign of the dividend only."""
    operands, is_float = tuple(call.inputs), call.view.input().dtype.is_float
    if is_float and not op.truncates:
        inner = call.inner("Mod", operands, "truncated", fmod=1)
        operands = (call.inner("Add", (inner, operands[1]), "raised"), operands[1])
    call.write("Mod", operands, fmod=int(op.truncates or is_float))


@emit.register
def _logical(op: ops.Logical, call: ExportCall) -> None:
    call.write(op.function)


@emit.register
def _relu6(op: ops.Relu6, call: ExportCall) -> None:
    call.write("Clip", (call.x, call.scalar(0.0), call.scalar(6.0)))


@emit.register
def _clip(op: ops.Clip, call: ExportCall) -> None:
    bounds = ("" if isinf(bound) else call.scalar(bound) for bound in (op.low, op.high))
    call.write("Clip", (call.x, *bounds))


@emit.register
def _leaky_relu(op: ops.LeakyRelu, call: ExportCall) -> None:
    call.write("LeakyRelu", alpha=float(op.alpha))


@emit.register
def _elu(op: ops.Elu, call: ExportCall) -> None:
    call.write("Elu", alpha=float(op.alpha))


@emit.register
def _hard_swish(op: ops.HardSwish, call: ExportCall) -> None:
    """Inline the function HardSwish-14, as runtimes do: opset 13 does not have it."""
    gate = call.inner("HardSigmoid", (call.x,), "gate", alpha=1 / 6, beta=0.5)
    call.write("Mul", (call.x, gate))


@emit.register
def _hard_sigmoid(op: ops.HardSigmoid, call: ExportCall) -> None:
    call.write("HardSigmoid", alpha=float(op.alpha), beta=float(op.beta))


@emit.register
def _silu(op: ops.Silu, call: ExportCall) -> None:
    gate = call.inner("Sigmoid", (call.x,), "gate")
    call.write("Mul", (call.x, gate))


@emit.register
def _gelu(op: ops.Gelu, call: ExportCall) -> None:
    """Write ``x / 2 * (1 + erf(x / sqrt(2)))`` or, with tanh, the usual approximation of it."""
    if call.writer.opset >= _GELU:
        call.write("Gelu", approximate="tanh" if op.approximate else "none")
        return
    if op.approximate:
        cube = call.inner("Pow", (call.x, call.scalar(3.0)), "cube")
        bend = call.inner("Mul", (cube, call.scalar(0.044715)), "bend")
        bent = call.inner("Add", (call.x, bend), "bent")
        inner = call.inner("Mul", (bent, call.scalar(sqrt(2 / pi))), "inner")
    else:
        inner = call.inner("Div", (call.x, call.scalar(sqrt(2))), "inner")
    curve = call.inner("Tanh" if op.approximate else "Erf", (inner,), "curve")
    raised = call.inner("Add", (curve, call.scalar(1.0)), "raised")
    scaled = call.inner("Mul", (call.x, raised), "scaled")
    call.write("Mul", (scaled, call.scalar(0.5)))


@emit.register
def _unary(op: ops.Unary, call: ExportCall) -> None:
    if op.function == "Rsqrt":
        call.write("Reciprocal", (call.inner("Sqrt", (call.x,), "sqrt"),))
    else:
        call.write(op.function)


# --- normalization and reduction ----------------------------------------------


@emit.register
def _softmax(op: ops.Softmax, call: ExportCall) -> None:
    call.write("Softmax", axis=op.axis)


@emit.register
def _log_softmax(op: ops.LogSoftmax, call: ExportCall) -> None:
    call.write("LogSoftmax", axis=op.axis)


@emit.register
def _layer_norm(op: ops.LayerNorm, call: ExportCall) -> None:
    call.write("LayerNormalization", axis=op.axis, epsilon=float(op.epsilon))


@emit.register
def _instance_norm(op: ops.InstanceNorm, call: ExportCall) -> None:
    if op.layout is not Layout.NCHW:
        raise InternalError(f"{op.kind} at {call.view.node.name!r} is NHWC; ONNX is NCHW.")
    call.write("InstanceNormalization", epsilon=float(op.epsilon))


@emit.register
def _reduce(op: ops.Reduce, call: ExportCall) -> None:
    """Write global average pooling where it is one: runtimes have better kernels for it."""
    if is_global_average(op, len(call.view.input().shape)):
        call.write("GlobalAveragePool")
    elif op.function == "Sum" or call.writer.opset >= _REDUCE_AXES_OPERAND:
        axes = call.writer.ints("axes", op.axes)
        call.write(op.kind, (call.x, axes), keepdims=int(op.keepdims))
    else:
        call.write(op.kind, axes=op.axes, keepdims=int(op.keepdims))


def is_global_average(op: ops.Reduce, rank: int) -> bool:
    """Return True if the reduction is a mean over all spatial dimensions of an NCHW activation."""
    spatial = tuple(range(2, rank))
    return op.function == "Mean" and op.keepdims and bool(spatial) and op.axes == spatial


@emit.register
def _arg_max(op: ops.ArgMax, call: ExportCall) -> None:
    call.write("ArgMax", axis=op.axis, keepdims=int(op.keepdims))


@emit.register
def _top_k(op: ops.TopK, call: ExportCall) -> None:
    call.write("TopK", (call.x, call.writer.ints("count", (op.count,))), axis=op.axis)


# --- pooling and resampling ---------------------------------------------------


@emit.register
def _max_pool(op: ops.MaxPool, call: ExportCall) -> None:
    call.write("MaxPool", kernel_shape=op.kernel, **_window(op, call))


@emit.register
def _average_pool(op: ops.AveragePool, call: ExportCall) -> None:
    call.write(
        "AveragePool",
        kernel_shape=op.kernel,
        count_include_pad=int(op.count_include_pad),
        **_window(op, call),
    )


@emit.register
def _resize(op: ops.Resize, call: ExportCall) -> None:
    sizes = call.writer.ints("sizes", (*call.view.input().shape[:2], *op.sizes))
    call.write(
        "Resize",
        (call.x, "", "", sizes),
        mode=op.mode,
        coordinate_transformation_mode=op.coordinates,
        nearest_mode=op.nearest if op.mode == "nearest" else None,
    )


@emit.register
def _depth_to_space(op: ops.DepthToSpace, call: ExportCall) -> None:
    call.write("DepthToSpace", blocksize=op.block, mode=op.mode)


@emit.register
def _space_to_depth(op: ops.SpaceToDepth, call: ExportCall) -> None:
    call.write("SpaceToDepth", blocksize=op.block)


# --- data movement ------------------------------------------------------------


@emit.register
def _reshape(op: ops.Reshape, call: ExportCall) -> None:
    if not op.shape:  # a Reshape of a product to no dimensions crashes OpenVINO 2026.4
        call.write("Squeeze", (call.x,))
        return
    call.write("Reshape", (call.x, call.writer.ints("shape", op.shape)))


@emit.register
def _transpose(op: ops.Transpose, call: ExportCall) -> None:
    call.write("Transpose", perm=op.perm)


@emit.register
def _concat(op: ops.Concat, call: ExportCall) -> None:
    call.write("Concat", axis=op.axis)


@emit.register
def _split(op: ops.Split, call: ExportCall) -> None:
    call.write("Split", (call.x, call.writer.ints("sizes", op.sizes)), axis=op.axis)


@emit.register
def _slice(op: ops.Slice, call: ExportCall) -> None:
    """Name only the dimensions that are cut."""
    shape = call.view.input().shape
    cut = [i for i, size in enumerate(shape) if (op.sizes[i], op.steps[i]) != (size, 1)]
    if not cut:
        call.write("Identity")
        return
    ends = [op.starts[i] + op.sizes[i] * op.steps[i] for i in cut]
    bounds = {
        "starts": [op.starts[i] for i in cut],
        "ends": [end if end >= 0 else _INT64_MIN for end in ends],
        "axes": cut,
        "steps": [op.steps[i] for i in cut],
    }
    call.write("Slice", (call.x, *(call.writer.ints(k, v) for k, v in bounds.items())))


@emit.register
def _pad(op: ops.Pad, call: ExportCall) -> None:
    value = (call.scalar(op.value),) if op.mode == "constant" else ()
    call.write("Pad", (call.x, call.writer.ints("pads", op.pads), *value), mode=op.mode)


@emit.register
def _gather(op: ops.Gather, call: ExportCall) -> None:
    call.write("Gather", axis=op.axis)


@emit.register
def _expand(op: ops.Expand, call: ExportCall) -> None:
    call.write("Expand", (call.x, call.writer.ints("shape", op.shape)))


@emit.register
def _tile(op: ops.Tile, call: ExportCall) -> None:
    call.write("Tile", (call.x, call.writer.ints("repeats", op.repeats)))


@emit.register
def _cast(op: ops.Cast, call: ExportCall) -> None:
    call.write("Cast", to=element_type(op.to))


# --- what has no canonical form -----------------------------------------------


@emit.register
def _opaque(op: ops.Opaque, call: ExportCall) -> None:
    """Write the user's node again, between renamed tensors."""
    from onnx import NodeProto

    proto = NodeProto.FromString(op.proto)
    proto.name = call.view.node.name
    del proto.input[:], proto.output[:]
    proto.input.extend(call.inputs)
    proto.output.extend(call.outputs)
    call.writer.append(in_opset(proto, call.view, call.writer.opset), op.opset)
