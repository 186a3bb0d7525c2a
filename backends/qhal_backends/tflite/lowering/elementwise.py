"""Element-wise operators."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import NodeView
from qhal.quant.arithmetic import quantize
from qhal.quant.model import QuantParams
from qhal_backends.tflite.emitter import Emitter
from qhal_backends.tflite.flat import OptionValue
from qhal_backends.tflite.lowering.activations import fused
from qhal_backends.tflite.lowering.shapes import emit_broadcast, reshape

# --- two operands -------------------------------------------------------------

_ARITHMETIC = {ops.Add: "ADD", ops.Sub: "SUB", ops.Mul: "MUL", ops.Div: "DIV"}
_PLAIN_BINARY = {
    ops.Pow: "POW",
    ops.Mod: "FLOOR_MOD",
    ops.Maximum: "MAXIMUM",
    ops.Minimum: "MINIMUM",
}
_RELATIONS = {
    "==": "EQUAL",
    "<": "LESS",
    "<=": "LESS_EQUAL",
    ">": "GREATER",
    ">=": "GREATER_EQUAL",
}


def _arithmetic(e: Emitter, view: NodeView) -> None:
    op = view.op
    assert isinstance(op, ops.Add | ops.Sub | ops.Mul | ops.Div)
    options = fused(op.activation)
    is_sum = isinstance(op, ops.Add | ops.Sub)
    if is_sum and e.tensor(view.node.inputs[0]).type.dtype is DType.INT16:
        options["potScaleInt16"] = False  # the scales are not powers of two
    emit_broadcast(e, view, _ARITHMETIC[type(op)], **options)


def _plain_binary(e: Emitter, view: NodeView) -> None:
    emit_broadcast(e, view, _PLAIN_BINARY[type(view.op)])


def _compare(e: Emitter, view: NodeView) -> None:
    assert isinstance(view.op, ops.Compare)
    emit_broadcast(e, view, _RELATIONS[view.op.relation])


_LOGICAL = {"And": "LOGICAL_AND", "Or": "LOGICAL_OR", "Xor": "NOT_EQUAL"}


def _logical(e: Emitter, view: NodeView) -> None:
    assert isinstance(view.op, ops.Logical)
    emit_broadcast(e, view, _LOGICAL[view.op.function])


def _where(e: Emitter, view: NodeView) -> None:
    emit_broadcast(e, view, "SELECT_V2")


# --- one operand --------------------------------------------------------------

_UNARY = {
    ops.Elu: "ELU",
    ops.Sigmoid: "LOGISTIC",
    ops.Tanh: "TANH",
}

FUNCTIONS = {
    "Abs": "ABS",
    "Neg": "NEG",
    "Exp": "EXP",
    "Log": "LOG",
    "Sqrt": "SQRT",
    "Rsqrt": "RSQRT",
    "Sin": "SIN",
    "Cos": "COS",
    "Floor": "FLOOR",
    "Ceil": "CEIL",
    "Round": "ROUND",
    "Sign": "SIGN",
    "Not": "LOGICAL_NOT",
}
"""Functions of :class:`~qhal.ir.ops.Unary` that TFLite has, with their builtin operators."""


def _unary(e: Emitter, view: NodeView) -> None:
    e.emit(_UNARY[type(view.op)], view.node.inputs, view.node.outputs)


def _function(e: Emitter, view: NodeView) -> None:
    assert isinstance(view.op, ops.Unary)
    if view.op.function == "Reciprocal":
        one = e.constant(f"{view.node.name}/one", np.asarray(1.0, np.float32))
        e.emit("DIV", [one, view.node.inputs[0]], view.node.outputs)
        return
    dtype = e.tensor(view.node.outputs[0]).type.dtype
    if view.op.function == "Abs" and dtype is DType.INT8 and e.flavor.for_xnnpack:
        # The same with a slope of -1; XNNPACK has no 8-bit ABS, and the builtin kernel is scalar.
        e.emit("LEAKY_RELU", view.node.inputs, view.node.outputs, alpha=-1.0)
        return
    e.emit(FUNCTIONS[view.op.function], view.node.inputs, view.node.outputs)


def _gelu(e: Emitter, view: NodeView) -> None:
    assert isinstance(view.op, ops.Gelu)
    e.emit("GELU", view.node.inputs, view.node.outputs, approximate=view.op.approximate)


def _leaky_relu(e: Emitter, view: NodeView) -> None:
    assert isinstance(view.op, ops.LeakyRelu)
    e.emit("LEAKY_RELU", view.node.inputs, view.node.outputs, alpha=view.op.alpha)


# --- bounds ---------------------------------------------------------------------


def _clip(e: Emitter, view: NodeView) -> None:
    assert isinstance(view.op, ops.Clip)
    _clamp(e, view, view.node.inputs[0], view.op.low, view.op.high)


def _clamp(e: Emitter, view: NodeView, x: str, low: float, high: float) -> None:
    """Write MAXIMUM with the lower bound and MINIMUM with the upper one, if they matter."""
    needed = [("MAXIMUM", low, "low")] if _cuts_below(e, x, low) else []
    needed += [("MINIMUM", high, "high")] if _cuts_above(e, x, high) else []
    if not needed:
        reshape(e, x, view.node.outputs[0])
    for index, (builtin, bound, what) in enumerate(needed, start=1):
        hint, shape = f"{view.node.name}/{what}", view.output().shape
        result = view.node.outputs[0] if index == len(needed) else e.like(x, hint, shape)
        e.emit(builtin, [x, e.scalar(f"{hint}_bound", bound, x)], [result])
        x = result


def _cuts_below(e: Emitter, x: str, low: float) -> bool:
    """Return True if a tensor can hold less than a bound."""
    params = e.tensor(x).params
    if params is None or not np.isfinite(low):
        return low != -np.inf
    return int(quantize(np.asarray(low), params)) > params.dtype.qmin


def _cuts_above(e: Emitter, x: str, high: float) -> bool:
    """Return True if a tensor can hold more than a bound."""
    params = e.tensor(x).params
    if params is None or not np.isfinite(high):
        return high != np.inf
    return int(quantize(np.asarray(high), params)) < params.dtype.qmax


def _relu(e: Emitter, view: NodeView) -> None:
    """Write RELU and RELU6; on 8-bit integers as QUANTIZE, whose saturation is the usual bound.

    XNNPACK has no 8-bit RELU, and the builtin kernel is scalar: a hundred times slower.
    """
    x, (y,) = view.node.inputs[0], view.node.outputs
    is_six = isinstance(view.op, ops.Relu6)
    if not e.flavor.for_xnnpack or e.tensor(y).type.dtype is not DType.INT8:
        e.emit("RELU6" if is_six else "RELU", [x], [y])
        return
    high = 6.0 if is_six else np.inf
    if not _cuts_below(e, y, 0.0) and not _cuts_above(e, y, high):
        e.emit("QUANTIZE", [x], [y])
        return
    scaled = e.like(y, f"{view.node.name}/scaled", view.output().shape)
    e.emit("QUANTIZE", [x], [scaled])
    _clamp(e, view, scaled, 0.0, high)


def _prelu(e: Emitter, view: NodeView) -> None:
    """Write PRELU; on 8-bit integers ``max(x, 0) + slope * min(x, 0)``, for the same reason."""
    (x, slope), (y,) = view.node.inputs, view.node.outputs
    if not e.flavor.for_xnnpack or e.tensor(y).type.dtype is not DType.INT8:
        e.emit("PRELU", [x, slope], [y])
        return
    shape, name = view.output().shape, view.node.name
    zero = e.scalar(f"{name}/zero", 0.0, x)
    above, below = (e.like(x, f"{name}/{what}", shape) for what in ("above", "below"))
    scaled = e.like(y, f"{name}/scaled", shape)
    e.emit("MAXIMUM", [x, zero], [above])
    e.emit("MINIMUM", [x, zero], [below])
    e.emit("MUL", [below, slope], [scaled])
    e.emit("ADD", [above, scaled], [y])


# --- conversions --------------------------------------------------------------


def _cast(e: Emitter, view: NodeView) -> None:
    """CAST; QUANTIZE of bytes to integers with parameters, which shifts them by 128."""
    if e.tensor(view.node.outputs[0]).params is not None:
        e.state(view.node.inputs[0], QuantParams.per_tensor(view.input().dtype, 1.0, 0))
        e.emit("QUANTIZE", view.node.inputs, view.node.outputs)
        return
    types: dict[str, OptionValue] = {
        "inDataType": view.input().dtype,
        "outDataType": view.output().dtype,
    }
    e.emit("CAST", view.node.inputs, view.node.outputs, **types)


def _to_integers(e: Emitter, view: NodeView) -> None:
    (x,), outputs = view.node.inputs, view.node.outputs
    params = e.tensor(outputs[0]).params
    if params is not None and e.masks_far_below(x, params):
        least = (params.dtype.qmin - int(params.zero_point.min())) * float(params.scale.min())
        raised = e.like(x, f"{view.node.name}/raised", view.output().shape)
        e.emit("MAXIMUM", [x, e.scalar(f"{view.node.name}/least", least, x)], [raised])
        x = raised
    e.emit("QUANTIZE", [x], outputs)


def _to_floats(e: Emitter, view: NodeView) -> None:
    e.emit("DEQUANTIZE", view.node.inputs, view.node.outputs)


LOWERINGS: dict[type[ops.Op], Callable[[Emitter, NodeView], None]] = {
    **dict.fromkeys(_ARITHMETIC, _arithmetic),
    **dict.fromkeys(_PLAIN_BINARY, _plain_binary),
    **dict.fromkeys(_UNARY, _unary),
    **dict.fromkeys((ops.Quantize, ops.Requantize), _to_integers),
    ops.Dequantize: _to_floats,
    ops.Compare: _compare,
    ops.Logical: _logical,
    ops.Where: _where,
    ops.Unary: _function,
    ops.Gelu: _gelu,
    ops.LeakyRelu: _leaky_relu,
    ops.Clip: _clip,
    **dict.fromkeys((ops.Relu, ops.Relu6), _relu),
    ops.PRelu: _prelu,
    ops.Cast: _cast,
}
