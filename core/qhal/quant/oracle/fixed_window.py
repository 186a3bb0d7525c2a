"""Reductions, pooling and resampling of integers, as LiteRT's reference kernels do them."""

from __future__ import annotations

from math import prod

import numpy as np

from qhal.ir import ops
from qhal.ir.ops import Layout
from qhal.quant.oracle import window as windows
from qhal.quant.oracle.context import Kernel, KernelContext, Operands, operands_of
from qhal.quant.oracle.fixed_elementwise import clamped
from qhal.quant.oracle.fixed_point import Int64, Multiplier
from qhal.quant.oracle.integer import same_params
from qhal.quant.oracle.movement import pool_window
from qhal.quant.oracle.values import Array


def build_reduce(context: KernelContext) -> Kernel | None:
    """Build Mean and Sum: rescale the sum; Mean divides the multiplier by the element count.

    (``QuantizedMeanOrSum`` in tflite/kernels/internal/reference/reduce.h.)
    """
    op = context.op
    assert isinstance(op, ops.Reduce)
    if op.function not in ("Mean", "Sum"):
        return None
    source, output = context.input_params(), context.output_params()
    count = prod(context.input_type().shape[axis] for axis in op.axes)
    multiplier = Multiplier.of(np.float64(source.scale) / np.float64(output.scale))
    if op.function == "Mean":
        multiplier = _divided(multiplier, count)
    offset = int(source.zero_point) * count

    def run(operands: Operands) -> tuple[Array, ...]:
        (x,) = operands_of(operands)
        total = np.sum(x, axis=op.axes, keepdims=op.keepdims, dtype=np.int64)
        return (clamped(multiplier.apply(np.asarray(total - offset)), output),)

    return run


def _divided(multiplier: Multiplier, count: int) -> Multiplier:
    """Divide a multiplier by a count; keep the bits that the division would lose."""
    shift = min(count.bit_length() - 1, 32, 31 + int(multiplier.shift))
    mantissa = (int(multiplier.mantissa) << shift) // count
    return Multiplier(np.asarray(mantissa), multiplier.shift - shift)


def build_average_pool(context: KernelContext) -> Kernel | None:
    """Build the mean of the taps inside, half away from zero; counted padding is the zero point.

    (tflite/kernels/internal/reference/integer_ops/pooling.h)
    """
    op = context.op
    assert isinstance(op, ops.AveragePool)
    if not same_params(context):
        return None
    window = pool_window(context, op)
    counts = windows.count_inside(window, windows.spatial(context.input_type().shape, op.layout))
    divisor = np.asarray(prod(op.kernel)) if op.count_include_pad else counts
    filler = int(context.input_params().zero_point) if op.count_include_pad else 0
    output = context.output_params()

    def run(operands: Operands) -> tuple[Array, ...]:
        x = windows.channels_last(operands_of(operands)[0], op.layout)
        total = windows.reduce_windows(windows.pad(x, window, filler, np.int64), window, np.add)
        found = np.sign(total) * ((np.abs(total) + divisor // 2) // divisor)
        return (windows.from_channels_last(found.astype(output.dtype.numpy), op.layout),)

    return run


def build_resize(context: KernelContext) -> Kernel | None:
    """Build bilinear resampling with 10 fractional bits per axis (``ResizeBilinearInteger``).

    A single spatial dimension is that of a plane with one row, whose weight is 1024/1024.
    """
    op = context.op
    assert isinstance(op, ops.Resize)
    if op.mode != "linear" or len(op.sizes) > 2 or not same_params(context):
        return None
    sizes = windows.spatial(context.input_type().shape, op.layout)
    first = 2 if op.layout is Layout.NCHW else 1
    taps = [_linear_taps(op, size, out) for size, out in zip(sizes, op.sizes, strict=True)]
    dtype = context.output_params().dtype.numpy

    def run(operands: Operands) -> tuple[Array, ...]:
        x = operands_of(operands)[0].astype(np.int64) * 1024 ** (2 - len(taps))
        for axis, (low, high, weight) in enumerate(taps, first):
            column = weight.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
            x = np.take(x, low, axis) * (1024 - column) + np.take(x, high, axis) * column
        half = np.where(x > 0, 1 << 19, -(1 << 19))
        # C divides towards zero.
        found = np.sign(x) * (np.abs(x + half) >> 20)
        return (found.astype(dtype),)

    return run


def _linear_taps(op: ops.Resize, size: int, out: int) -> tuple[Int64, Int64, Int64]:
    """Return lower and upper source index, and the weight of the upper one in 1/1024."""
    if op.coordinates == "align_corners" and out > 1:
        scale = (1024 * (size - 1) + (out - 1) // 2) // (out - 1)
    else:
        scale = (1024 * size + out // 2) // out
    place = np.arange(out, dtype=np.int64) * scale
    if op.coordinates == "half_pixel" or (op.coordinates == "pytorch_half_pixel" and out > 1):
        place += scale // 2 - 512
    low = np.maximum(np.trunc(place / 1024).astype(np.int64), 0)
    high = np.minimum(np.trunc((place + 1023) / 1024).astype(np.int64), size - 1)
    return low, high, place - 1024 * low
