"""From integer accumulators to the integers of the output."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from qhal.ir.ops import Activation
from qhal.quant.arithmetic import broadcast_params
from qhal.quant.model import QuantParams
from qhal.quant.oracle.context import saturate, scalar
from qhal.quant.oracle.fixed_point import Int64, Multiplier, round_half_away
from qhal.quant.oracle.values import Array
from qhal.quant.oracle.window import Epilogue
from qhal.targets.capability import Arithmetic

_CEILINGS = {Activation.NONE: np.inf, Activation.RELU: np.inf, Activation.RELU6: 6.0}


def activation_range(
    activation: Activation, params: QuantParams, arithmetic: Arithmetic
) -> tuple[int, int]:
    """Return the smallest and largest integer of a fused activation.

    LiteRT rounds the bounds half away from zero (``CalculateActivationRangeQuantized`` in
    tflite/kernels/kernel_util.cc), ONNX Runtime half to even.
    """
    return clamp_range(
        -np.inf if activation is Activation.NONE else 0.0,
        _CEILINGS[activation],
        params,
        arithmetic,
    )


def clamp_range(
    low: float, high: float, params: QuantParams, arithmetic: Arithmetic
) -> tuple[int, int]:
    """Return the integers of two real bounds, either of which may be infinite."""
    qmin, qmax = params.dtype.qmin, params.dtype.qmax
    scale, zero_point = scalar(params)
    rounding = round_half_away if arithmetic.is_fixed_point else np.rint

    def level(bound: float) -> float:
        return float(rounding(np.float32(bound) / scale)) + zero_point

    first = qmin if np.isneginf(low) else min(max(qmin, level(low)), qmax)
    last = qmax if np.isposinf(high) else max(min(qmax, level(high)), qmin)
    return int(first), int(last)


def rescaler(
    factors: Any,
    bias: Array | None,
    output: QuantParams,
    limits: tuple[int, int],
    arithmetic: Arithmetic,
    wide: bool = False,
) -> Epilogue:
    """Build the epilogue of an integer kernel: bias, rescaling, zero point, clamp.

    Args:
        factors: ``s_input * s_weight / s_output`` in float64, one per channel or one.
        bias: integers, one per channel.
        output: parameters of the result.
        limits: clamp, in the integers of the result.
        arithmetic: rounding.
        wide: accumulators of 64 bits in fixed-point arithmetic (16-bit activations).

    Returns:
        A function from (M, O) accumulators (integers, perhaps in a float type) to integers.
    """
    if arithmetic is Arithmetic.FLOAT:
        return _float_rescaler(factors, bias, output, limits)
    multiplier = Multiplier.of(factors)
    offset = None if bias is None else bias.astype(np.int64)
    apply = multiplier.apply_wide if wide else multiplier.apply

    def run(sums: Array) -> Array:
        total = sums.astype(np.int64)
        if offset is not None:
            total += offset
        return _finish(apply(total), output, limits)

    return run


def exact_rescaler(
    factors: Any, bias: Array | None, output: QuantParams, limits: tuple[int, int]
) -> Epilogue:
    """Build the epilogue of LiteRT's reference FullyConnected: one float64 rounding, half away.

    (tflite/kernels/internal/reference/integer_ops/fully_connected.h, the overloads that take
    scales.)
    """
    offset = 0.0 if bias is None else bias.astype(np.float64)

    def run(sums: Array) -> Array:
        scaled = (sums.astype(np.float64) + offset) * factors
        return _finish(round_half_away(scaled), output, limits)

    return run


def _float_rescaler(
    factors: Any, bias: Array | None, output: QuantParams, limits: tuple[int, int]
) -> Epilogue:
    """Build ``MlasRequantizeOutput`` (onnxruntime/core/mlas/lib/quantize.cpp)."""
    scale = np.asarray(factors, np.float32)
    offset = None if bias is None else bias.astype(np.float64)

    def run(sums: Array) -> Array:
        total = sums.astype(np.float64)
        if offset is not None:
            total += offset
        scaled = total.astype(np.float32)
        scaled *= scale
        return _finish(np.rint(scaled, out=scaled), output, limits)

    return run


def _finish(
    values: Int64 | npt.NDArray[np.floating[Any]], output: QuantParams, limits: tuple[int, int]
) -> Array:
    values += values.dtype.type(int(output.zero_point))
    np.clip(values, *limits, out=values)
    return values.astype(output.dtype.numpy)


def requantize(x: Array, source: QuantParams, output: QuantParams, arithmetic: Arithmetic) -> Array:
    """Convert integers of ``source`` to integers of ``output``.

    Fixed point: tflite/kernels/internal/reference/requantize.h. Float: dequantize, quantize.
    """
    if source.same_as(output):
        return x
    from_scale, from_zero = scalar(source)
    to_scale, to_zero = scalar(output)
    centered = x.astype(np.int64) - from_zero
    if arithmetic is Arithmetic.FLOAT:
        real = centered.astype(np.float32) * from_scale
        return saturate(np.rint(real / to_scale) + np.float32(to_zero), output.dtype)
    multiplier = Multiplier.of(np.float64(from_scale) / np.float64(to_scale))
    return saturate(multiplier.apply(centered) + to_zero, output.dtype)


def quantize_real(x: Array, output: QuantParams, arithmetic: Arithmetic) -> Array:
    """Convert float to integers, as the runtime's Quantize operator rounds.

    LiteRT rounds half away from zero (tflite/kernels/internal/reference/quantize.h), ONNX
    Runtime half to even; both divide in float32.
    """
    scale, zero_point = broadcast_params(output, np.shape(x))
    steps = np.asarray(x, np.float32) / scale
    rounding = round_half_away if arithmetic.is_fixed_point else np.rint
    return saturate(rounding(steps) + zero_point.astype(np.float32), output.dtype)
