"""Arrays of numbers to arrays of integers and back, and the parameters in between.

The convention is ``real = scale * (q - zero_point)`` with a float32 scale, and for types with a
codebook ``real = scale * codebook[q]``. Weights and biases round half to even here; what a
runtime's own Quantize operator does with a tie is a matter of its kernels (see
:mod:`qhal.quant.oracle`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from qhal.ir.dtypes import DType
from qhal.ir.graph import Array
from qhal.quant.model import QuantParams
from qhal.targets.spec import FixedQParams, PerAxis, PerGroup, QuantSpec

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
"""Below the smallest normal float32 a scale loses its precision."""

_LARGEST_INT64 = float(np.nextafter(2.0**63, 0.0))


def quantize(array: Array, params: QuantParams) -> Array:
    """Round to the integers of ``params`` (half to even) and saturate.

    Args:
        array: real numbers, of the shape that ``params`` describes.
        params: per tensor, per axis or per group.

    Returns:
        Integers of ``params.dtype.numpy``, same shape; of a type with a codebook, the codes of the
        nearest numbers (the smaller one of two).
    """
    codebook = params.dtype.codebook
    if codebook is not None:
        return _nearest(array, params, codebook)
    # Up to 16 bits a float32 holds every step exactly; a bias of 32 bits needs float64.
    work = np.float32 if params.dtype.bits <= 16 else np.float64
    scale, zero_point = broadcast_params(params, array.shape)
    with np.errstate(over="ignore"):  # an infinite number of steps saturates as well
        steps = np.asarray(np.divide(array, scale, dtype=work))
    np.rint(steps, out=steps)
    steps += zero_point.astype(work)
    high = min(float(params.dtype.qmax), _LARGEST_INT64)
    np.clip(steps, float(params.dtype.qmin), high, out=steps)
    return steps.astype(params.dtype.numpy)


def dequantize(ints: Array, params: QuantParams) -> npt.NDArray[np.float32]:
    """Compute the real numbers that integers stand for.

    Args:
        ints: integers or codes, of the shape that ``params`` describes.
        params: per tensor, per axis or per group.

    Returns:
        float32, same shape.
    """
    codebook = params.dtype.codebook
    if codebook is not None:
        scale, _ = broadcast_params(params, ints.shape)
        numbers: npt.NDArray[np.float32] = codebook[ints]
        numbers *= scale
        return numbers
    work = np.float32 if params.dtype.bits <= 16 else np.float64
    scale, zero_point = broadcast_params(params, ints.shape)
    real = np.asarray(np.subtract(ints, zero_point, dtype=work))
    real *= scale
    return real.astype(np.float32, copy=False)


def _nearest(array: Array, params: QuantParams, codebook: npt.NDArray[np.float32]) -> Array:
    scale, _ = broadcast_params(params, array.shape)
    steps = np.asarray(np.divide(array, scale, dtype=np.float32))
    codes = np.zeros(array.shape, params.dtype.numpy)
    middles = (codebook[1:] + codebook[:-1]) / np.float32(2)
    # Counting takes a byte per element where a binary search would take eight.
    for middle in middles:
        codes += steps > middle
    return codes


def rounded(array: Array, dtype: DType) -> Array:
    """Round real numbers to a float type, half to even.

    Args:
        array: float32, any shape.
        dtype: a float type.

    Returns:
        An array of ``dtype.numpy``, same shape.
    """
    if dtype is not DType.BFLOAT16:
        return array.astype(dtype.numpy, copy=False)
    # The upper half of a float32, after adding half of its last place (or just less, to even).
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    last = (bits >> np.uint32(16)) & np.uint32(1)
    kept = (bits + (last + np.uint32(0x7FFF))) & np.uint32(0xFFFF0000)
    return kept.view(np.float32).reshape(array.shape)


def broadcast_params(
    params: QuantParams, shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.float32], Int64]:
    """Return scale and zero point, shaped to broadcast against an array of ``shape``."""
    if params.axis is None:
        return params.scale, params.zero_point
    if not params.group_size:
        column = [1] * len(shape)
        column[params.axis] = -1
        return params.scale.reshape(column), params.zero_point.reshape(column)
    return (
        _ungroup(params.scale, params.axis, params.group_size, shape),
        _ungroup(params.zero_point, params.axis, params.group_size, shape),
    )


def params_from_range(low: float, high: float, spec: QuantSpec) -> QuantParams:
    """Return per-tensor parameters that cover ``[low, high]`` and zero.

    The range is widened to hold zero, and the zero point is an integer, so that zero is exact
    (padding and ReLU depend on it). Of the two zero points that the ends of the range suggest,
    the one with the smaller error is taken, as TensorFlow Lite's ``ChooseQuantizationParams``
    does (tensorflow/lite/kernels/internal/quantization_util.h). A range without extent is taken
    for -1 to 1: beside steps of usual tensors, LiteRT's 16-bit sums are wrong with one of 1.
    """
    if max(-low, high) < SMALLEST_SCALE:
        low, high = -1.0, 1.0
    scale, zero_point = _affine(np.asarray(low, np.float64), np.asarray(high, np.float64), spec)
    return QuantParams(spec.dtype, scale.astype(np.float32), zero_point)


def channel_params(low: Float64, high: Float64, spec: QuantSpec, axis: int) -> QuantParams:
    """Return parameters of an activation with a scale per channel and one zero point for all.

    Kernels subtract one zero point from all of their input. It is the one with the smallest
    steps, relative to the range of each channel, in the mean square.

    Args:
        low: smallest element of each channel, (C,).
        high: largest element of each channel, (C,).
        spec: type of the integers.
        axis: of the channels.
    """
    low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    extent = np.where(high > low, high - low, 1.0)
    candidates = np.arange(spec.dtype.qmin, spec.dtype.qmax + 1)[:, np.newaxis]
    with np.errstate(divide="ignore", invalid="ignore"):
        below = np.where(low < 0, -low / (candidates - spec.dtype.qmin), 0.0)
        above = np.where(high > 0, high / (spec.dtype.qmax - candidates), 0.0)
    steps = np.maximum(below, above)
    best = int(np.argmin(np.square(steps / extent).sum(axis=1)))
    scale = _fill_empty(_safe(steps[best]), steps[best] < SMALLEST_SCALE)
    zero_point = np.full(scale.shape, spec.dtype.qmin + best, np.int64)
    return QuantParams(spec.dtype, scale.astype(np.float32), zero_point, axis)


def weight_params(weight: Array, spec: QuantSpec, axis: int = 0) -> QuantParams:
    """Return parameters that cover a weight exactly, at the granularity of ``spec``.

    Args:
        weight: real numbers; any rank with per axis and per group.
        spec: granularity, symmetry and narrow range. Per group, ``size`` consecutive weights of
            one output channel, in memory order of the remaining axes, share a scale; the last
            group may be shorter.
        axis: the axis of the output channels.

    Returns:
        ``scale`` of shape (), (O,) or (O, K/size). A channel or group of zeros takes the median
        scale of the others, so that a bias of that channel keeps its precision.
    """
    if isinstance(spec.granularity, PerGroup):
        groups = _grouped(weight, axis, spec.granularity.size)
        low, high = groups.min(axis=-1), groups.max(axis=-1)
        size = spec.granularity.size
    else:
        others = tuple(i for i in range(weight.ndim) if i != axis)
        over = others if isinstance(spec.granularity, PerAxis) else None
        # amin and amax hold no copy of the weight, unlike abs.
        low, high = np.amin(weight, axis=over), np.amax(weight, axis=over)
        size = 0
    scale, zero_point = _affine(low.astype(np.float64), high.astype(np.float64), spec)
    scale = _fill_empty(scale, np.maximum(-low, high) < SMALLEST_SCALE)
    per_tensor = not isinstance(spec.granularity, PerAxis | PerGroup)
    return QuantParams(
        spec.dtype, scale.astype(np.float32), zero_point, None if per_tensor else axis, size
    )


def bias_params(source: QuantParams, weight: QuantParams, dtype: DType) -> QuantParams:
    """Return parameters of a bias: ``scale = s_input * s_weight``, zero point 0.

    Args:
        source: the layer's input, per tensor.
        weight: the layer's weight, per tensor or per axis.
        dtype: int32, or int64 beside 16-bit activations in LiteRT.
    """
    scale = source.scale.astype(np.float64) * weight.scale.astype(np.float64)
    zero_point = np.zeros(scale.shape, np.int64)
    axis = None if weight.axis is None else 0
    return QuantParams(dtype, scale.astype(np.float32), zero_point, axis)


def fixed_params(spec: FixedQParams) -> QuantParams:
    """Return parameters that the hardware fixes."""
    return QuantParams.per_tensor(spec.dtype, spec.scale, spec.zero_point)


def _affine(low: Float64, high: Float64, spec: QuantSpec) -> tuple[Float64, Int64]:
    low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    if spec.dtype.codebook is not None:
        scale = _safe(np.maximum(-low, high) / spec.dtype.codebook.max())
        return scale, np.zeros(scale.shape, np.int64)
    qmin, qmax = spec.qmin, spec.qmax
    if spec.symmetric:
        middle = (spec.dtype.qmin + spec.dtype.qmax + 1) // 2
        scale = _safe(np.maximum(-low, high) / (qmax - middle))
        return scale, np.full(scale.shape, middle, np.int64)
    # The zero point must fit the scale as it is stored, hence the rounding to float32.
    scale = _safe((high - low) / (qmax - qmin))
    from_low, from_high = qmin - low / scale, qmax - high / scale
    low_error = abs(qmin) + np.abs(low / scale)
    high_error = abs(qmax) + np.abs(high / scale)
    best = np.where(low_error <= high_error, from_low, from_high)
    best = np.where(high - low < SMALLEST_SCALE, (qmin + qmax + 1) // 2, best)
    return scale, np.asarray(np.clip(np.rint(best), qmin, qmax), np.int64)


def _safe(scale: Any) -> Float64:
    """Round to float32; a scale of (almost) zero becomes 1."""
    stored = np.asarray(scale, np.float64).astype(np.float32).astype(np.float64)
    return np.where(stored < SMALLEST_SCALE, 1.0, stored)


def _fill_empty(scale: Float64, empty: npt.NDArray[np.bool_]) -> Float64:
    """Give groups of zeros, which :func:`_affine` left at 1, the median scale of the rest."""
    if scale.ndim == 0 or not empty.any() or empty.all():
        return scale
    return np.where(empty, np.median(scale[~empty]), scale)


def _grouped(weight: Array, axis: int, size: int) -> Array:
    """Reshape weights to (O, groups, size); fill a short last group with zeros."""
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    missing = -rows.shape[1] % size
    if missing:
        rows = np.pad(rows, ((0, 0), (0, missing)))
    return rows.reshape(rows.shape[0], -1, size)


def _ungroup(values: Any, axis: int, size: int, shape: tuple[int, ...]) -> Any:
    """Spread (O, groups) over all weights: the inverse view of :func:`_grouped`."""
    moved = (shape[axis], *(d for i, d in enumerate(shape) if i != axis))
    count = int(np.prod(moved[1:], dtype=np.int64))
    rows = np.repeat(values, size, axis=1)[:, :count]
    return np.moveaxis(rows.reshape(moved), 0, axis)
