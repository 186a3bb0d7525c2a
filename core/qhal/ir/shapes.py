"""Shape inference: what an operator makes of operands of given types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from qhal.ir import ops, shapes_spatial
from qhal.ir.dtypes import DType
from qhal.ir.graph import TensorType
from qhal.ir.ops import Ints, Op
from qhal.ir.shapes_spatial import OperandTypes, ResultTypes, operand, optional

ShapeRule = Callable[[Any, OperandTypes], ResultTypes]

_STORED_INTEGERS = ("INT2", "INT4", "UINT4", "NF4", "INT8", "UINT8", "INT16", "UINT16")
_STORED = frozenset(d for d in DType if d.is_float or d.name in _STORED_INTEGERS)


def infer(op: Op, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
    """Infer the types of the results of ``op``.

    Element types follow operand 0 except where the operator fixes them. In a quantized
    graph the parameters decide instead, see :func:`same_kind`.

    Args:
        op: a canonical operator; an :class:`~qhal.ir.ops.Opaque` one has no rule.
        inputs: operand types; None where an optional operand is absent.

    Raises:
        ValueError: the operands do not fit the operator; the message is one sentence.
    """
    rule = rule_of(type(op))
    if rule is None:
        raise ValueError(f"the shape of {op.kind} cannot be inferred")
    results = rule(op, inputs)
    for result in results:
        if min(result.shape, default=0) < 0:
            raise ValueError(f"its result would have the shape {result.shape}")
    return results


def rule_of(operator: type[Op]) -> ShapeRule | None:
    """Return the shape rule of an operator; None for one that has none.

    Element-wise operators of one element type share one, unless :data:`_RULES` has another.
    """
    traits = operator.traits
    shared = _elementwise if traits.elementwise and traits.homogeneous else None
    return _RULES.get(operator, shared)


def same_kind(a: DType, b: DType) -> bool:
    """Return True if equal, or if quantization may put one type in the other's place."""
    return a is b or (a in _STORED and b in _STORED)


def broadcast(*shapes: Ints) -> Ints:
    """Return the shape that NumPy broadcasting gives; raise ValueError if there is none."""
    try:
        return tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        raise ValueError(f"the shapes {shapes} do not broadcast") from None


def _check_axis(axis: int, rank: int) -> None:
    if not 0 <= axis < rank:
        raise ValueError(f"axis {axis} is outside of rank {rank}")


def _check_entries(name: str, values: Ints, count: int) -> None:
    if len(values) != count:
        raise ValueError(f"{name} {values} has {len(values)} entries, expected {count}")


# --- element-wise -------------------------------------------------------------


def _elementwise(op: Op, inputs: OperandTypes) -> ResultTypes:
    first, *others = (operand(inputs, index) for index in range(op.traits.operands))
    for other in others:
        if not same_kind(first.dtype, other.dtype):
            raise ValueError(f"the operands {first} and {other} have different element types")
    return (replace(first, shape=broadcast(first.shape, *(o.shape for o in others))),)


def _compare(op: ops.Compare, inputs: OperandTypes) -> ResultTypes:
    (result,) = _elementwise(op, inputs)
    return (replace(result, dtype=DType.BOOL),)


def _where(_: ops.Where, inputs: OperandTypes) -> ResultTypes:
    condition, a, b = (operand(inputs, i) for i in range(3))
    if condition.dtype is not DType.BOOL:
        raise ValueError(f"the condition is {condition}, expected bool")
    if not same_kind(a.dtype, b.dtype):
        raise ValueError(f"the operands {a} and {b} have different element types")
    return (replace(a, shape=broadcast(condition.shape, a.shape, b.shape)),)


def _prelu(_: ops.PRelu, inputs: OperandTypes) -> ResultTypes:
    x, slope = operand(inputs, 0), operand(inputs, 1)
    if broadcast(x.shape, slope.shape) != x.shape:
        raise ValueError(f"the slope {slope} does not broadcast to {x}")
    return (x,)


# --- products -----------------------------------------------------------------


def _fully_connected(_: ops.FullyConnected, inputs: OperandTypes) -> ResultTypes:
    x, weight, bias = operand(inputs, 0), operand(inputs, 1, "weight"), optional(inputs, 2)
    if len(weight.shape) != 2 or not x.shape or x.shape[-1] != weight.shape[1]:
        raise ValueError(f"the weight {weight} does not fit the operand {x}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"the bias {bias} does not fit the weight {weight}")
    return (replace(x, shape=(*x.shape[:-1], weight.shape[0])),)


def _matmul(_: ops.MatMul, inputs: OperandTypes) -> ResultTypes:
    a, b = operand(inputs, 0), operand(inputs, 1)
    if not a.shape or not b.shape:
        raise ValueError(f"a matrix product needs operands with dimensions, these are {a} and {b}")
    left = a.shape if len(a.shape) > 1 else (1, *a.shape)
    right = b.shape if len(b.shape) > 1 else (*b.shape, 1)
    if left[-1] != right[-2]:
        raise ValueError(f"the operands {a} and {b} have different inner dimensions")
    rows = left[-2:-1] if len(a.shape) > 1 else ()
    columns = right[-1:] if len(b.shape) > 1 else ()
    return (replace(a, shape=(*broadcast(left[:-2], right[:-2]), *rows, *columns)),)


def _recurrent(
    op: ops.Lstm | ops.Gru | ops.Rnn, inputs: OperandTypes, gates: int, states: int
) -> ResultTypes:
    x, hidden = operand(inputs, 0), op.hidden_size
    if len(x.shape) != 3:
        raise ValueError(f"{op.kind} needs an operand (time, batch, features), but this one is {x}")
    times, batch, features = x.shape
    directions = 2 if op.direction == "bidirectional" else 1
    wanted: list[Ints] = [
        (directions, gates * hidden, features),
        (directions, gates * hidden, hidden),
    ]
    wanted += [(directions, 2 * gates * hidden), *[(directions, batch, hidden)] * states]
    for index, shape in enumerate(wanted, start=1):
        found = operand(inputs, index) if index < 3 else optional(inputs, index)
        if found is not None and found.shape != shape:
            raise ValueError(f"operand {index} of {op.kind} is {found}, expected {shape}")
    state = replace(x, shape=(directions, batch, hidden))
    return (replace(x, shape=(times, directions, batch, hidden)), *[state] * states)


def _lstm(op: ops.Lstm, inputs: OperandTypes) -> ResultTypes:
    return _recurrent(op, inputs, gates=4, states=2)


def _gru(op: ops.Gru, inputs: OperandTypes) -> ResultTypes:
    return _recurrent(op, inputs, gates=3, states=1)


def _rnn(op: ops.Rnn, inputs: OperandTypes) -> ResultTypes:
    return _recurrent(op, inputs, gates=1, states=1)


# --- normalization and reduction ----------------------------------------------


def _along_axis(op: ops.Softmax | ops.LogSoftmax, inputs: OperandTypes) -> ResultTypes:
    x = operand(inputs, 0)
    _check_axis(op.axis, len(x.shape))
    return (x,)


def _layer_norm(op: ops.LayerNorm, inputs: OperandTypes) -> ResultTypes:
    x = operand(inputs, 0)
    _check_axis(op.axis, len(x.shape))
    for found in filter(None, inputs[1:]):
        if broadcast(x.shape, found.shape) != x.shape:
            raise ValueError(f"the operand {found} does not broadcast to {x}")
    return (x,)


def _reduced(shape: Ints, axes: Ints, keepdims: bool) -> Ints:
    for axis in axes:
        _check_axis(axis, len(shape))
    if keepdims:
        return tuple(1 if i in axes else size for i, size in enumerate(shape))
    return tuple(size for i, size in enumerate(shape) if i not in axes)


def _reduce(op: ops.Reduce, inputs: OperandTypes) -> ResultTypes:
    x = operand(inputs, 0)
    return (replace(x, shape=_reduced(x.shape, op.axes, op.keepdims)),)


def _arg_max(op: ops.ArgMax, inputs: OperandTypes) -> ResultTypes:
    shape = _reduced(operand(inputs, 0).shape, (op.axis,), op.keepdims)
    return (TensorType(shape, op.to),)


def _top_k(op: ops.TopK, inputs: OperandTypes) -> ResultTypes:
    x = operand(inputs, 0)
    _check_axis(op.axis, len(x.shape))
    if not 0 < op.count <= x.shape[op.axis]:
        raise ValueError(f"axis {op.axis} of {x} has no {op.count} elements")
    shape = _with_axis(x.shape, op.axis, op.count)
    return (replace(x, shape=shape), TensorType(shape, op.to))


# --- data movement ------------------------------------------------------------


def _reshape(op: ops.Reshape, inputs: OperandTypes) -> ResultTypes:
    x = operand(inputs, 0)
    if min(op.shape, default=0) < 0 or prod(op.shape) != x.elements:
        raise ValueError(f"{x} has {x.elements} elements and cannot have the shape {op.shape}")
    return (replace(x, shape=op.shape),)


def _transpose(op: ops.Transpose, inputs: OperandTypes) -> ResultTypes:
    x = operand(inputs, 0)
    if sorted(op.perm) != list(range(len(x.shape))):
        raise ValueError(f"{op.perm} is not a permutation of the dimensions of {x}")
    return (replace(x, shape=tuple(x.shape[i] for i in op.perm)),)


def _without(shape: Ints, axis: int) -> Ints:
    return shape[:axis] + shape[axis + 1 :]


def _concat(op: ops.Concat, inputs: OperandTypes) -> ResultTypes:
    parts = [operand(inputs, i) for i in range(len(inputs))]
    first = operand(inputs, 0)
    _check_axis(op.axis, len(first.shape))
    for part in parts:
        fits = len(part.shape) == len(first.shape) and same_kind(part.dtype, first.dtype)
        if not fits or _without(part.shape, op.axis) != _without(first.shape, op.axis):
            raise ValueError(f"{part} cannot be joined to {first} along axis {op.axis}")
    total = sum(part.shape[op.axis] for part in parts)
    return (replace(first, shape=_with_axis(first.shape, op.axis, total)),)


def _with_axis(shape: Ints, axis: int, size: int) -> Ints:
    return (*shape[:axis], size, *shape[axis + 1 :])


def _split(op: ops.Split, inputs: OperandTypes) -> ResultTypes:
    x = operand(inputs, 0)
    _check_axis(op.axis, len(x.shape))
    if sum(op.sizes) != x.shape[op.axis]:
        raise ValueError(f"the sizes {op.sizes} do not add up to axis {op.axis} of {x}")
    return tuple(replace(x, shape=_with_axis(x.shape, op.axis, size)) for size in op.sizes)


def _slice(op: ops.Slice, inputs: OperandTypes) -> ResultTypes:
    x = operand(inputs, 0)
    for name in ("starts", "sizes", "steps"):
        _check_entries(name, getattr(op, name), len(x.shape))
    for size, start, count, step in zip(x.shape, op.starts, op.sizes, op.steps, strict=True):
        last = start + (count - 1) * step
        if step == 0 or (count and not (0 <= start < size and 0 <= last < size)):
            cut = f"a slice of {count} elements from {start} in strides of {step}"
            raise ValueError(f"{cut} goes beyond {x}")
    return (replace(x, shape=op.sizes),)


def _pad(op: ops.Pad, inputs: OperandTypes) -> ResultTypes:
    x = operand(inputs, 0)
    rank = len(x.shape)
    _check_entries("pads", op.pads, 2 * rank)
    shape = tuple(x.shape[i] + op.pads[i] + op.pads[rank + i] for i in range(rank))
    if any(size < 0 for size in shape):
        raise ValueError(f"pads {op.pads} leave the shape {shape}")
    return (replace(x, shape=shape),)


def _gather(op: ops.Gather, inputs: OperandTypes) -> ResultTypes:
    x, indices = operand(inputs, 0), operand(inputs, 1)
    _check_axis(op.axis, len(x.shape))
    shape = (*x.shape[: op.axis], *indices.shape, *x.shape[op.axis + 1 :])
    return (replace(x, shape=shape),)


def _expand(op: ops.Expand, inputs: OperandTypes) -> ResultTypes:
    x = operand(inputs, 0)
    if broadcast(x.shape, op.shape) != op.shape:
        raise ValueError(f"{x} does not broadcast to {op.shape}")
    return (replace(x, shape=op.shape),)


def _tile(op: ops.Tile, inputs: OperandTypes) -> ResultTypes:
    x = operand(inputs, 0)
    _check_entries("repeats", op.repeats, len(x.shape))
    return (replace(x, shape=tuple(s * r for s, r in zip(x.shape, op.repeats, strict=True))),)


def _cast(op: ops.Cast, inputs: OperandTypes) -> ResultTypes:
    return (replace(operand(inputs, 0), dtype=op.to),)


# --- conversions -------------------------------------------------------------


def _quantize(_: ops.Quantize, inputs: OperandTypes) -> ResultTypes:
    """Take int8 to stand for whatever type the parameters of the output name."""
    return (replace(operand(inputs, 0), dtype=DType.INT8),)


def _dequantize(_: ops.Dequantize, inputs: OperandTypes) -> ResultTypes:
    return (replace(operand(inputs, 0), dtype=DType.FLOAT32),)


_RULES: Mapping[type[Op], ShapeRule] = {
    **dict.fromkeys((ops.Softmax, ops.LogSoftmax), _along_axis),
    **dict.fromkeys((ops.MaxPool, ops.AveragePool), shapes_spatial.pool),
    ops.Conv: shapes_spatial.conv,
    ops.DepthwiseConv: shapes_spatial.depthwise_conv,
    ops.ConvTranspose: shapes_spatial.conv_transpose,
    ops.FullyConnected: _fully_connected,
    ops.MatMul: _matmul,
    ops.Lstm: _lstm,
    ops.Gru: _gru,
    ops.Rnn: _rnn,
    ops.Compare: _compare,
    ops.Where: _where,
    ops.PRelu: _prelu,
    ops.LayerNorm: _layer_norm,
    ops.InstanceNorm: shapes_spatial.instance_norm,
    ops.Reduce: _reduce,
    ops.ArgMax: _arg_max,
    ops.TopK: _top_k,
    ops.Resize: shapes_spatial.resize,
    ops.DepthToSpace: shapes_spatial.depth_to_space,
    ops.SpaceToDepth: shapes_spatial.space_to_depth,
    ops.Reshape: _reshape,
    ops.Transpose: _transpose,
    ops.Concat: _concat,
    ops.Split: _split,
    ops.Slice: _slice,
    ops.Pad: _pad,
    ops.Gather: _gather,
    ops.Expand: _expand,
    ops.Tile: _tile,
    ops.Cast: _cast,
    ops.Quantize: _quantize,
    ops.Dequantize: _dequantize,
}
