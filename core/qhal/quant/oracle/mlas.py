"""Integer kernels of ONNX Runtime that are more than Dequantize, compute, Quantize.

They matter where a result lies (almost) between two steps. The order of operations is that of
MLAS on x86-64 with AVX2 and FMA; elsewhere such a result may go to the other step.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from qhal.ir import ops
from qhal.ir.ops import Op
from qhal.quant.arithmetic import dequantize
from qhal.quant.oracle.context import Kernel, KernelContext, Operands, operands_of, saturate, scalar
from qhal.quant.oracle.integer import IntegerBuilder
from qhal.quant.oracle.real import FLOAT
from qhal.quant.oracle.rescale import activation_range, clamp_range, rescaler
from qhal.quant.oracle.values import Array


def build_sum(context: KernelContext) -> Kernel | None:
    """Build ``QLinearAdd``: two fused multiply-adds (mlas/lib/intrinsics/avx2/qladd_avx2.cpp).

    A float64 holds the product of an 8-bit integer and a float32 and its sum exactly, so that
    rounding it to float32 is what a fused multiply-add does.
    """
    op = context.op
    assert isinstance(op, ops.Add)
    output = context.output_params()
    if output.dtype.bits > 8:
        return None
    (a_scale, a_zero), (b_scale, b_zero) = (
        scalar(context.input_params(0)),
        scalar(context.input_params(1)),
    )
    scale, zero_point = scalar(output)
    a_ratio, b_ratio = np.float64(a_scale / scale), np.float64(b_scale / scale)
    zeros = np.float32(a_ratio * a_zero + np.float32(b_ratio * b_zero))
    fixed = np.float64(np.float32(zero_point) - zeros)
    limits = activation_range(op.activation, output, context.arithmetic)

    def run(operands: Operands) -> tuple[Array, ...]:
        a, b = operands_of(operands)
        total = (fixed + b.astype(np.float64) * b_ratio).astype(np.float32)
        total = (total + a.astype(np.float64) * a_ratio).astype(np.float32)
        return (np.clip(np.rint(total), *limits).astype(output.dtype.numpy),)

    return run


def build_product(context: KernelContext) -> Kernel | None:
    """Build ``QLinearMul``: one factor, the zero point before rounding (mlas/lib/qlmul.cpp)."""
    op = context.op
    assert isinstance(op, ops.Mul)
    output = context.output_params()
    if output.dtype.bits > 8:
        return None
    (a_scale, a_zero), (b_scale, b_zero) = (
        scalar(context.input_params(0)),
        scalar(context.input_params(1)),
    )
    scale, zero_point = scalar(output)
    factor = np.float32(np.float32(a_scale * b_scale) / scale)
    limits = activation_range(op.activation, output, context.arithmetic)

    def run(operands: Operands) -> tuple[Array, ...]:
        a, b = operands_of(operands)
        product = (a.astype(np.float32) - a_zero) * (b.astype(np.float32) - b_zero)
        total = product * factor + np.float32(zero_point)
        return (np.clip(np.rint(total), *limits).astype(output.dtype.numpy),)

    return run


def build_mean(context: KernelContext) -> Kernel | None:
    """Build ``QLinearGlobalAveragePool``: an exact sum, scaled once (mlas/lib/qlgavgpool.cpp)."""
    op = context.op
    assert isinstance(op, ops.Reduce)
    if op.function != "Mean":
        return None
    output = context.output_params()
    scale, zero_point = scalar(context.input_params())
    count = prod(context.input_type().shape[axis] for axis in op.axes)
    factor = scale / np.float32(scalar(output)[0] * np.float32(count))
    limits = (output.dtype.qmin, output.dtype.qmax)
    finish = rescaler(factor, None, output, limits, context.arithmetic)

    def run(operands: Operands) -> tuple[Array, ...]:
        (x,) = operands_of(operands)
        total = np.sum(x, axis=op.axes, keepdims=op.keepdims, dtype=np.int64)
        return (finish(np.asarray(total - zero_point * count)),)

    return run


def build_average_pool(context: KernelContext) -> Kernel:
    """Build ``QLinearAveragePool``: the zero point is added before rounding.

    (onnxruntime/contrib_ops/cpu/quantization/qlinear_pool.cc, ``quantize_value``.)
    """
    mean, source, output = (
        FLOAT[ops.AveragePool](context),
        context.input_params(),
        context.output_params(),
    )
    scale, zero_point = scalar(output)

    def run(operands: Operands) -> tuple[Array, ...]:
        (x,) = operands_of(operands)
        (real,) = mean([dequantize(x, source)])
        return (saturate(np.rint(real / scale + np.float32(zero_point)), output.dtype),)

    return run


def build_hard_sigmoid(context: KernelContext) -> Kernel | None:
    """Build ``QLinearAdd`` of x, read with the scale ``alpha * scale``, and the constant beta.

    The constant is the integer 255 with the scale ``beta / 255``; saturation is the clip, where
    the range of the result ends at 0 and 1.
    """
    op = context.op
    assert isinstance(op, ops.HardSigmoid)
    output = context.output_params()
    limits = (output.dtype.qmin, output.dtype.qmax)
    if output.dtype.bits > 8 or clamp_range(0.0, 1.0, output, context.arithmetic) != limits:
        return None
    (x_scale, x_zero), (scale, zero_point) = scalar(context.input_params()), scalar(output)
    x_ratio = np.float64(np.float32(x_scale * np.float32(op.alpha)) / scale)
    beta_ratio = np.float32(np.float32(op.beta / 255) / scale)
    start = np.float32(zero_point) - np.float32(x_ratio * x_zero)
    fixed = np.float64(np.float32(start + np.float32(255 * beta_ratio)))

    def run(operands: Operands) -> tuple[Array, ...]:
        (x,) = operands_of(operands)
        total = (fixed + x * x_ratio).astype(np.float32)
        return (saturate(np.rint(total), output.dtype),)

    return run


MLAS: Mapping[type[Op], IntegerBuilder] = {
    ops.Add: build_sum,
    ops.Mul: build_product,
    ops.Reduce: build_mean,
    ops.AveragePool: build_average_pool,
    ops.HardSigmoid: build_hard_sigmoid,
}
"""Operator -> builder of its integer kernel; None where it does not apply."""
