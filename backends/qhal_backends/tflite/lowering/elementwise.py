"""Element-wise operators."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import NodeView
from qhal.quant.arithmetic import quantize
from qhal_backends.tflite.emitter import Emitter
from qhal_backends.tflite.flat import OptionValue
from qhal_backends.tflite.lowering.activations import fused
from qhal_backends.tflite.lowering.shapes import emit_broadcast, reshape

# --- two operands -------------------------------------------------------------

_ARITHMETIC = {ops.Add: "ADD", ops.Sub: "SUB", ops.Mul: "MUL", ops.Div: "DIV"}
_PLAIN_BINARY = {ops.Pow: "POW", ops.Maximum: "MAXIMUM", ops.Minimum: "MINIMUM"}
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


def _where(e: Emitter, view: NodeView) -> None:
    emit_broadcast(e, view, "SELECT_V2")


# --- one operand --------------------------------------------------------------

_UNARY = {
    ops.Relu: "RELU",
    ops.Relu6: "RELU6",
    ops.Elu: "ELU",
    ops.Sigmoid: "LOGISTIC",
    ops.Tanh: "TANH",
    ops.HardSwish: "HARD_SWISH",
    ops.PRelu: "PRELU",
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
    e.emit(FUNCTIONS[view.op.function], view.node.inputs, view.node.outputs)


def _gelu(e: Emitter, view: NodeView) -> None:
    assert isinstance(view.op, ops.Gelu)
    e.emit("GELU", view.node.inputs, view.node.outputs, approximate=view.op.approximate)


def _leaky_relu(e: Emitter, view: NodeView) -> None:
    assert isinstance(view.op, ops.LeakyRelu)
    e.emit("LEAKY_RELU", view.node.inputs, view.node.outputs, alpha=view.op.alpha)


def _clip(e: Emitter, view: NodeView) -> None:
    """MAXIMUM with the lower bound, then MINIMUM with the upper one, as far as they are finite."""
    op = view.op
    assert isinstance(op, ops.Clip)
    bounds = (("MAXIMUM", op.low, "low"), ("MINIMUM", op.high, "high"))
    finite = [(builtin, bound, what) for builtin, bound, what in bounds if np.isfinite(bound)]
    x = view.node.inputs[0]
    if not finite:
        reshape(e, x, view.node.outputs[0])
    for index, (builtin, bound, what) in enumerate(finite, start=1):
        last = index == len(finite)
        result = (
            view.node.outputs[0] if last else e.like(x, f"{view.node.name}/{what}", _shape(view))
        )
        e.emit(builtin, [x, _bound(e, view, bound, what)], [result])
        x = result


def _shape(view: NodeView) -> tuple[int, ...]:
    return view.output().shape


def _bound(e: Emitter, view: NodeView, bound: float, what: str) -> str:
    """A scalar in the form of the operand, as MAXIMUM and MINIMUM want it."""
    source = e.tensor(view.node.inputs[0])
    value = np.asarray(bound, np.float32)
    stored = value if source.params is None else quantize(value, source.params)
    hint = f"{view.node.name}/{what}_bound"
    return e.constant(hint, stored.astype(source.type.dtype.numpy), source.params)


# --- conversions --------------------------------------------------------------


def _cast(e: Emitter, view: NodeView) -> None:
    types: dict[str, OptionValue] = {
        "inDataType": view.input().dtype,
        "outDataType": view.output().dtype,
    }
    e.emit("CAST", view.node.inputs, view.node.outputs, **types)


def _to_integers(e: Emitter, view: NodeView) -> None:
    e.emit("QUANTIZE", view.node.inputs, view.node.outputs)


def _to_floats(e: Emitter, view: NodeView) -> None:
    e.emit("DEQUANTIZE", view.node.inputs, view.node.outputs)


LOWERINGS: dict[type[ops.Op], Callable[[Emitter, NodeView], None]] = {
    **dict.fromkeys(_ARITHMETIC, _arithmetic),
    **dict.fromkeys(_PLAIN_BINARY, _plain_binary),
    **dict.fromkeys(_UNARY, _unary),
    **dict.fromkeys((ops.Quantize, ops.Requantize), _to_integers),
    ops.Dequantize: _to_floats,
    ops.Compare: _compare,
    ops.Where: _where,
    ops.Unary: _function,
    ops.Gelu: _gelu,
    ops.LeakyRelu: _leaky_relu,
    ops.Clip: _clip,
    ops.Cast: _cast,
}
