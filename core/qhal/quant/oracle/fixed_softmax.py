"""Softmax and LogSoftmax of integers, as LiteRT's reference kernels compute them."""

from __future__ import annotations

import numpy as np

from qhal.ir import ops
from qhal.quant.model import QuantParams
from qhal.quant.oracle.context import Kernel, KernelContext, Operands, operands_of
from qhal.quant.oracle.fixed_point import (
    Int64,
    Multiplier,
    doubling_high_mul,
    exp_on_negative_values,
    leading_zeros,
    reciprocal,
    rounding_shift,
)
from qhal.quant.oracle.lut import interpolate16, samples16
from qhal.quant.oracle.values import Array

_DIFFERENCE_BITS = 5
"""Integer bits of a rescaled difference to the largest element."""

_SUM_BITS = 12
"""Integer bits of the sum of exponentials."""


def build_softmax(context: KernelContext) -> Kernel:
    """Build a softmax over one axis; 8 bits (result at 1/256) or 16 bits (result at 1/32768)."""
    op = context.op
    assert isinstance(op, ops.Softmax)
    source, output = context.input_params(), context.output_params()
    function = _Softmax16(source) if source.dtype.bits > 8 else _Softmax8(source, output)

    def run(operands: Operands) -> tuple[Array, ...]:
        rows = np.moveaxis(operands_of(operands)[0], op.axis, -1).astype(np.int64)
        found = function(rows - rows.max(axis=-1, keepdims=True))
        return (np.moveaxis(found, -1, op.axis).astype(output.dtype.numpy),)

    return run


class _Softmax8:
    """tflite/kernels/internal/reference/softmax.h with an exponential for every difference."""

    def __init__(self, source: QuantParams, output: QuantParams) -> None:
        beta = min(float(source.scale) * (1 << (31 - _DIFFERENCE_BITS)), 2.0**31 - 1)
        multiplier = Multiplier.of(beta)
        bound = ((1 << _DIFFERENCE_BITS) - 1) * 2.0 ** (31 - _DIFFERENCE_BITS)
        radius = int(np.floor(bound / 2.0 ** int(multiplier.shift)))
        differences = -np.arange(256)
        used = differences >= -radius
        scaled = multiplier.apply(np.where(used, differences, 0))
        self._exp = np.where(used, exp_on_negative_values(scaled, _DIFFERENCE_BITS), 0)
        self._used = used
        self._output = output

    def __call__(self, differences: Int64) -> Int64:
        exp = self._exp[-differences]
        total = rounding_shift(exp, _SUM_BITS).sum(axis=-1, keepdims=True)
        scale, above_one = reciprocal(total, _SUM_BITS)
        dtype = self._output.dtype
        exponent = above_one + 31 - dtype.bits
        found = rounding_shift(doubling_high_mul(scale, exp), exponent) + dtype.qmin
        clipped = np.clip(found, dtype.qmin, dtype.qmax)
        return np.where(self._used[-differences], clipped, dtype.qmin)


class _Softmax16:
    """``SoftmaxInt16``: tables for exp on [-10, 0] and 1 / (1 + x) on [0, 1]."""

    def __init__(self, source: QuantParams) -> None:
        unit = np.float64(65535)
        self._exp = samples16(10 / unit, 32767, 2 / unit, 0, np.exp)
        self._inverse = samples16(1 / unit, -32768, 2 / unit, 0, lambda x: 1 / (1 + x))
        self._multiplier = Multiplier.of(np.float64(source.scale) / (10.0 / 65535.0))

    def __call__(self, differences: Int64) -> Int64:
        scaled = np.clip(self._multiplier.apply(differences) + 32767, -32768, 32767)
        exp = interpolate16(scaled, self._exp)
        total = exp.sum(axis=-1, keepdims=True)
        headroom = leading_zeros(total)
        shifted = ((total << (headroom - 1)) + (1 << 13)) >> 14
        argument = np.clip(shifted - ((1 << 15) + (1 << 16)), -32768, 32767)
        inverse = interpolate16(argument, self._inverse)
        shift = 31 - headroom
        product = (exp * inverse + (np.int64(1) << (shift - 1))) >> shift
        return np.asarray(np.clip(product, 0, 32767))
