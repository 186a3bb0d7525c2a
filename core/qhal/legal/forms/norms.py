"""Forms of normalizations and reductions."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from qhal.ir import ops
from qhal.ir.counts import Line, Segment, correction
from qhal.legal.forms.draft import Draft
from qhal.legal.forms.functions import Results

_Axes = tuple[int, ...]


def _centered(d: Draft, axes: _Axes) -> tuple[str, str]:
    """Write ``x - mean`` and ``variance + epsilon`` over axes."""
    op: Any = d.node.op
    x = d.input(0)
    mean = d("mean", ops.Reduce("Mean", axes), x)
    centered = d("centred", ops.Sub(), x, mean)
    variance = d("variance", ops.Reduce("Mean", axes), d("square", ops.Mul(), centered, centered))
    epsilon = d.constant("epsilon", op.epsilon, d.type(x).dtype)
    return centered, d("shifted", ops.Add(), variance, epsilon)


def _by_rsqrt(d: Draft, axes: _Axes) -> str:
    centered, spread = _centered(d, axes)
    return d("normal", ops.Mul(), centered, d("rsqrt", ops.Unary("Rsqrt"), spread))


def _by_sqrt(d: Draft, axes: _Axes) -> str:
    centered, spread = _centered(d, axes)
    return d("normal", ops.Div(), centered, d("deviation", ops.Unary("Sqrt"), spread))


def _affine(d: Draft, x: str, scale: str, bias: str) -> str:
    scaled = d("scaled", ops.Mul(), x, scale)
    return d("biased", ops.Add(), scaled, bias) if bias else scaled


def _inner_axes(d: Draft) -> _Axes:
    op: Any = d.node.op
    return tuple(range(op.axis, len(d.shape(d.input(0)))))


def layer_norm_by_rsqrt(d: Draft) -> Results:
    """Write ``(x - mean) * rsqrt(variance + epsilon) * scale + bias``."""
    return (_affine(d, _by_rsqrt(d, _inner_axes(d)), d.input(1), d.input(2)),)


def layer_norm_by_sqrt(d: Draft) -> Results:
    """Write ``(x - mean) / sqrt(variance + epsilon) * scale + bias``."""
    return (_affine(d, _by_sqrt(d, _inner_axes(d)), d.input(1), d.input(2)),)


def _spatial_axes(d: Draft) -> _Axes:
    return tuple(range(2, len(d.shape(d.input(0)))))


def _per_channel(d: Draft, index: int) -> str:
    """Reshape a vector (C) to (C, 1, …), which broadcasts to NCHW."""
    name = d.input(index)
    shape = (d.shape(name)[0], *(1,) * len(_spatial_axes(d)))
    value = d.value(name)
    if value is None:
        return d(f"channels_{index}", ops.Reshape(shape), name)
    return d.constant(f"channels_{index}", value.reshape(shape), d.type(name).dtype)


def instance_norm_by_rsqrt(d: Draft) -> Results:
    """Normalize over the spatial axes with a reciprocal root."""
    return (_affine(d, _by_rsqrt(d, _spatial_axes(d)), _per_channel(d, 1), _per_channel(d, 2)),)


def instance_norm_by_sqrt(d: Draft) -> Results:
    """Normalize over the spatial axes with a division."""
    return (_affine(d, _by_sqrt(d, _spatial_axes(d)), _per_channel(d, 1), _per_channel(d, 2)),)


def log_softmax(d: Draft) -> Results:
    """Write ``(x - max) - log(sum(exp(x - max)))``, which neither overflows nor meets log(0)."""
    op: Any = d.node.op
    largest = d("largest", ops.Reduce("Max", (op.axis,)), d.input(0))
    below = d("below", ops.Sub(), d.input(0), largest)
    total = d("total", ops.Reduce("Sum", (op.axis,)), d("exp", ops.Unary("Exp"), below))
    return (d("difference", ops.Sub(), below, d("log", ops.Unary("Log"), total)),)


def log_softmax_by_softmax(d: Draft) -> Results:
    """Write ``log(softmax(x))``, for want of the pieces of the stable form."""
    op: Any = d.node.op
    return (d("log", ops.Unary("Log"), d("softmax", ops.Softmax(op.axis), d.input(0))),)


# --- reductions ---------------------------------------------------------------


def _pool(d: Draft, kind: type[ops.MaxPool] | type[ops.AveragePool]) -> Results:
    """Pool with one window over all of (N, C, H, W)."""
    op: Any = d.node.op
    x = d.input(0)
    shape = d.shape(x)
    if len(shape) != 4 or op.axes != (2, 3):
        return None
    pooled = d("pool", kind(shape[2:], (1, 1), (0, 0, 0, 0)), x)
    return (pooled,) if op.keepdims else (d("flat", ops.Reshape(shape[:2]), pooled),)


def mean_by_pool(d: Draft) -> Results:
    """Write a mean over height and width as an average pooling."""
    return _pool(d, ops.AveragePool)


def max_by_pool(d: Draft) -> Results:
    """Write a maximum over height and width as a maximum pooling."""
    return _pool(d, ops.MaxPool)


def _count(d: Draft) -> int:
    op: Any = d.node.op
    return prod(d.shape(d.input(0))[axis] for axis in op.axes)


def sum_by_mean(d: Draft) -> Results:
    """Write ``mean * count``."""
    op: Any = d.node.op
    mean = d("mean", ops.Reduce("Mean", op.axes, op.keepdims), d.input(0))
    return (d("sum", ops.Mul(), mean, d.constant("count", _count(d), d.type(mean).dtype)),)


def mean_by_sum(d: Draft) -> Results:
    """Write ``sum / count``."""
    op: Any = d.node.op
    total = d("sum", ops.Reduce("Sum", op.axes, op.keepdims), d.input(0))
    return (d("mean", ops.Mul(), total, d.constant("share", 1 / _count(d), d.type(total).dtype)),)


def min_by_max(d: Draft) -> Results:
    """Write ``-max(-x)``."""
    op: Any = d.node.op
    sign = d.constant("sign", -1.0, d.type(d.input(0)).dtype)
    turned = d("turned", ops.Mul(), d.input(0), sign)
    largest = d("largest", ops.Reduce("Max", op.axes, op.keepdims), turned)
    return (d("smallest", ops.Mul(), largest, sign),)


# --- pooling ------------------------------------------------------------------


def average_pool_by_mean(d: Draft) -> Results:
    """Write a mean for one window over everything."""
    op: Any = d.node.op
    shape = d.shape(d.input(0))
    if op.kernel != shape[2:] or any(op.pads):
        return None
    return (d("mean", ops.Reduce("Mean", _spatial_axes(d)), d.input(0)),)


def average_pool_by_depthwise(d: Draft) -> Results:
    """Write a depthwise convolution with equal weights; padding counts or there is none."""
    op: Any = d.node.op
    if any(op.pads) and not op.count_include_pad:
        return None
    channels = d.shape(d.input(0))[1]
    weight = np.full((channels, 1, *op.kernel), 1 / prod(op.kernel))
    conv = ops.DepthwiseConv(op.strides, op.pads, (1,) * len(op.kernel))
    return (d("mean", conv, d.input(0), d.constant("weight", weight, d.type(d.input(0)).dtype)),)


def _lines(d: Draft) -> list[Line]:
    op: Any = d.node.op
    sizes, windows = d.shape(d.input(0))[2:], d.shape(d.node.outputs[0])[2:]
    facts = zip(sizes, op.kernel, op.strides, op.pads[: len(op.kernel)], windows, strict=True)
    return [Line(*fact) for fact in facts]


def average_pool_by_pieces(d: Draft) -> Results:
    """Write one pooling without padding for all windows with equally many taps on the input."""
    op: Any = d.node.op
    if op.count_include_pad or op.layout is not ops.Layout.NCHW or len(op.kernel) != 2:
        return None
    rows, columns = (line.segments() for line in _lines(d))
    if min(run.kernel for run in (*rows, *columns)) < 1 or len(rows) * len(columns) > _MOST_PIECES:
        return None
    bands = [_joined(d, 3, [_piece(d, row, column) for column in columns]) for row in rows]
    return (_joined(d, 2, bands),)


_MOST_PIECES = 16


def _piece(d: Draft, row: Segment, column: Segment) -> str:
    op: Any = d.node.op
    x = d.input(0)
    shape = d.shape(x)
    size = (*shape[:2], row.end - row.start, column.end - column.start)
    if size != shape:
        x = d("part", ops.Slice((0, 0, row.start, column.start), size, (1,) * 4), x)
    return d("pool", ops.AveragePool((row.kernel, column.kernel), op.strides, (0,) * 4), x)


def _joined(d: Draft, axis: int, parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else d("joined", ops.Concat(axis), *parts)


def average_pool_by_counts(d: Draft) -> Results:
    """Write ``mean with counted padding * taps / taps inside``, for want of fewer pieces."""
    op: Any = d.node.op
    if op.count_include_pad or op.layout is not ops.Layout.NCHW:
        return None
    lines = _lines(d)
    if any(start >= end for line in lines for start, end in line.spans()):
        return None
    pooled = d("all", replace(op, count_include_pad=True), d.input(0))
    factor = d.constant("counts", correction(lines), d.type(pooled).dtype)
    return (d("mean", ops.Mul(), pooled, factor),)
