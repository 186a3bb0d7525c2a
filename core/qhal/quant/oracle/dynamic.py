"""Dynamic-range kernels of LiteRT: float activations, integer weights.

The kernel quantizes each activation to 8 bits when it arrives (a convolution per image, a fully
connected layer per row and, as qhal writes it, asymmetrically), multiplies integers and scales the
sums back to float (``HybridConvPerChannel`` in tflite/kernels/internal/reference/conv.h,
``EvalHybridDense`` in tflite/kernels/fully_connected.cc; the quantization is that of
internal/reference/portable_tensor_utils.cc).
"""

from __future__ import annotations

import numpy as np

from qhal.ir import ops
from qhal.quant.oracle.context import Kernel, KernelContext, Operands, Real, operands_of
from qhal.quant.oracle.fixed_point import round_half_away
from qhal.quant.oracle.values import Array
from qhal.quant.oracle.weighted import (
    GEOMETRIES,
    Numbers,
    activate,
    centered_weight,
)
from qhal.quant.oracle.window import exact_type
from qhal.quant.weight_rows import output_axis


def is_dynamic(context: KernelContext) -> bool:
    """Return True if LiteRT's dynamic-range kernel runs a node: float input, 8-bit weight.

    Depthwise and transposed convolutions get their weights dequantized instead: LiteRT's
    dynamic-range kernels for them are slower than float, or newer than tflite-runtime 2.14.
    """
    return (
        context.arithmetic.is_fixed_point
        and isinstance(context.op, ops.Conv | ops.FullyConnected)
        and not context.integer
        and context.constant(1) is not None
        and context.node.inputs[1] in context.params
        and not context.input_params(1).group_size
        and context.input_params(1).dtype.codebook is None
    )


def build_dynamic(context: KernelContext) -> Kernel:
    """Build the kernel of a node for which :func:`is_dynamic` holds."""
    weight, params = context.constant(1), context.input_params(1)
    assert weight is not None
    centered = centered_weight(weight, params)
    work = exact_type(255.0, centered, output_axis(context.op))
    numbers = Numbers(centered.astype(work), 0, lambda sums: sums, work)
    kernel = GEOMETRIES[type(context.op)](context, numbers)
    rank = len(context.input_type().shape)
    axes = (rank - 1,) if isinstance(context.op, ops.FullyConnected) else tuple(range(1, rank))
    channels = _along_channels(context, params.scale)
    scales_last = isinstance(context.op, ops.Conv)
    bias = context.real_value(2)
    offset = np.float32(0) if bias is None else _along_channels(context, bias)

    def run(operands: Operands) -> tuple[Array, ...]:
        integers, scales = _quantize(operands_of(operands)[0], axes)
        (sums,) = kernel([integers])
        real = sums.astype(np.float32)
        # The order of the two factors is the kernels' own.
        scaled = real * channels * scales if scales_last else real * (channels * scales)
        return (activate(scaled + offset, context.op.fused),)

    return run


def _along_channels(context: KernelContext, values: Array) -> Array:
    """Shape one value per output channel so that it broadcasts against the result."""
    op, rank = context.op, len(context.output_type().shape)
    if values.ndim == 0 or isinstance(op, ops.FullyConnected):
        return values
    assert isinstance(op, ops.Conv | ops.DepthwiseConv)
    return values.reshape([-1 if i == op.layout.channel_axis(rank) else 1 for i in range(rank)])


def _quantize(x: Array, axes: tuple[int, ...]) -> tuple[Array, Real]:
    """Quantize to 8 bits with one scale for all elements along ``axes``.

    Returns:
        Integers less their zero point (in float), and scales that broadcast.
    """
    low = np.minimum(x.min(axis=axes, keepdims=True), 0).astype(np.float64)
    high = np.maximum(x.max(axis=axes, keepdims=True), 0).astype(np.float64)
    empty = low == high
    scale = np.where(empty, 1.0, (high - low) / 255)
    from_low, from_high = -128 - low / scale, 127 - high / scale
    nearer = 128 + np.abs(low / scale) < 127 + np.abs(high / scale)
    zero_point = np.clip(round_half_away(np.where(nearer, from_low, from_high)), -128, 127)
    offset = np.where(empty, 0, zero_point).astype(np.float32)
    stored: Real = scale.astype(np.float32)
    steps = round_half_away(offset + x * (np.float32(1) / stored))
    return np.clip(steps, -128, 127) - offset, stored
