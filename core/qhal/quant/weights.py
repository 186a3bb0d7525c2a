"""Stored weights and biases of one weighted node, with bias correction."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from qhal.decisions import Code, Decision
from qhal.errors import InternalError
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array
from qhal.ir.ops import Conv, ConvTranspose, DepthwiseConv, FullyConnected, Layout, Op
from qhal.quant.arithmetic import (
    bias_params,
    broadcast_params,
    dequantize,
    quantize,
    rounded,
    weight_params,
)
from qhal.quant.gptq import output_error, round_with_gptq
from qhal.quant.model import QuantParams
from qhal.quant.repair.layer import fit_layer
from qhal.quant.repair.moments import Moments
from qhal.quant.weight_rows import as_stored, by_output, output_axis
from qhal.targets.spec import PerAxis, QuantSpec

Float = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]

SMALLEST_MULTIPLIER = 2.0**-30
"""Least ``s_in * s_w / s_out`` that is emitted.

XNNPACK refuses requantization scales under 2**-32 (src/subgraph/validation); a channel so small
adds less than 1/64 of an output step over 1,000 products, so raising its scale loses nothing.
"""

_BIAS_ROOM = 2.0**30
"""Largest integer bias: half of int32, so that the accumulator has the other half."""


@dataclass(frozen=True, eq=False)
class WeightResult:
    """The stored form of a weight and, where the node has one, its bias.

    What is stored in a float type has no parameters.
    """

    weight: Array
    weight_params: QuantParams | None
    bias: Array | None
    bias_params: QuantParams | None
    decisions: tuple[Decision, ...]

    @property
    def real(self) -> tuple[Array, Array | None]:
        """The real numbers that weight and bias stand for."""
        return _real(self.weight, self.weight_params), (
            None if self.bias is None else _real(self.bias, self.bias_params)
        )


def _real(stored: Array, params: QuantParams | None) -> Array:
    return stored.astype(np.float32) if params is None else dequantize(stored, params)


@dataclass(frozen=True, eq=False)
class WeightTask:
    """All that quantizing one weighted node needs.

    Attributes:
        node: its name, for decisions.
        op: the operator, for the meaning of the weight's axes.
        weight: float weight in the op's layout.
        bias: float bias (O,), None if absent.
        spec: stored form of the weight.
        bias_dtype: stored type of the bias, None if it stays as it is.
        source: parameters of the input activation, None if it is float.
        result: parameters of the output activation, None if it is float.
        channel_mean: mean of each input channel (C,) over the calibration data, None if unknown.
        covariance: of the inputs that an output multiplies, (groups, K, K), in the order of NCHW;
            None if unknown.
        seen: what the node sees behind quantized layers, over all samples and over each half of
            them, in the same order; None if nobody looked.
    """

    node: str
    op: Op
    weight: Array
    bias: Array | None
    spec: QuantSpec
    bias_dtype: DType | None
    source: QuantParams | None
    result: QuantParams | None
    channel_mean: Float | None
    covariance: npt.NDArray[np.float64] | None = None
    seen: tuple[Moments, Moments, Moments] | None = None


def quantize_weights(task: WeightTask) -> WeightResult:
    """Round weights, correct the bias for their mean error, round the bias."""
    if task.seen is not None and can_fit(task.spec):
        return _fitted(task, task.seen)
    decisions: list[Decision] = []
    params = _weight_scales(task, decisions) if task.spec.quantized else None
    if params is None:
        stored = rounded(task.weight, task.spec.dtype)
    else:
        stored = _integers(task, params, decisions)
    bias = task.bias
    if bias is not None and task.channel_mean is not None:
        bias = _corrected(task, stored, params, decisions)
    return WeightResult(stored, params, *_stored_bias(task, params, bias), tuple(decisions))


def can_fit(spec: QuantSpec) -> bool:
    """Return True for weights with integers around zero and a step per output."""
    around_zero = spec.symmetric and spec.dtype.is_integer and spec.dtype.qmin < 0
    return around_zero and spec.granularity == PerAxis()


def _fitted(task: WeightTask, seen: tuple[Moments, Moments, Moments]) -> WeightResult:
    """Fit weights to what the node sees; let the bias take the means."""
    if task.bias is None:
        seen = (seen[0].about_zero(), seen[1].about_zero(), seen[2].about_zero())
    groups, size = seen[0].mean.shape
    rows = by_output(task.op, task.weight).reshape(groups, -1, size).astype(np.float64)
    covering = weight_params(task.weight, task.spec, output_axis(task.op))
    least = np.zeros(covering.scale.shape) if task.source is None else _least_scale(task, covering)
    fitted = fit_layer(rows, seen, task.spec, least.reshape(groups, -1).astype(np.float64))
    scale = fitted.steps.reshape(-1).astype(np.float32)
    params = replace(covering, scale=scale, zero_point=np.zeros(scale.shape, np.int64))
    stored = as_stored(task.op, fitted.codes, task.weight.shape).astype(params.dtype.numpy)
    bias = task.bias
    if bias is not None:
        bias = np.add(bias, fitted.shift.reshape(-1), dtype=np.float32)
    sentence = (
        f"The {task.spec.used_bits}-bit weights of {task.node} were fitted to what it sees behind "
        f"quantized layers: the output error of rounding is {100 * fitted.left:.0f} % of "
        "round-to-nearest's."
    )
    decisions = (Decision(Code.WEIGHTS_FITTED, sentence, task.node),)
    return WeightResult(stored, params, *_stored_bias(task, params, bias), decisions)


def _integers(task: WeightTask, params: QuantParams, decisions: list[Decision]) -> Array:
    """Round weights: with GPTQ where covariances are known and it helps, else to nearest."""
    plain = quantize(task.weight, params)
    hessian = _hessian(task)
    if hessian is None or np.any(params.zero_point):
        return plain
    weight, steps, before = (
        _by_group(task, array) for array in (task.weight, _steps(task, params), plain)
    )

    def nearest(column: Double, k: int) -> tuple[Double, Double]:
        codes = _codes(column / steps[:, :, k], task.spec)
        return codes, _numbers(codes, task.spec) * steps[:, :, k]

    after = round_with_gptq(weight, hessian, nearest)
    left, whole = (
        output_error(_numbers(codes, task.spec) * steps - weight, hessian)
        for codes in (after, before)
    )
    if left >= whole:
        return plain
    sentence = (
        f"The weights of {task.node} were rounded with GPTQ: the output error is "
        f"{100 * left / whole:.0f} % of round-to-nearest's."
    )
    decisions.append(Decision(Code.ROUNDED_WITH_GPTQ, sentence, task.node))
    return as_stored(task.op, after, task.weight.shape).astype(params.dtype.numpy)


def _codes(numbers: Double, spec: QuantSpec) -> Double:
    """Return the nearest integers, or the codes of the nearest numbers of a codebook."""
    codebook = spec.dtype.codebook
    if codebook is None:
        return np.clip(np.rint(numbers), spec.qmin, spec.qmax)
    borders = (codebook[1:] + codebook[:-1]) / 2
    return np.searchsorted(borders, numbers).astype(np.float64)


def _numbers(codes: Double, spec: QuantSpec) -> Double:
    """Return what integers or codes stand for, in steps."""
    codebook = spec.dtype.codebook
    return codes if codebook is None else codebook[codes.astype(np.intp)].astype(np.float64)


def _hessian(task: WeightTask) -> Double | None:
    """Return half the Hessian of the output error per sample, (groups, K, K); None if unknown.

    That is the covariance of the inputs; where no bias takes the mean error, the mean counts too.
    """
    if task.covariance is None or task.channel_mean is None:
        return None
    if task.bias is not None:
        return task.covariance
    groups, size = task.covariance.shape[:2]
    taps = groups * size // len(task.channel_mean)
    mean = np.repeat(task.channel_mean.astype(np.float64), taps).reshape(groups, size)
    return task.covariance + mean[:, :, np.newaxis] * mean[:, np.newaxis, :]


def _steps(task: WeightTask, params: QuantParams) -> Array:
    """Return the step of every weight."""
    return np.broadcast_to(broadcast_params(params, task.weight.shape)[0], task.weight.shape)


def _by_group(task: WeightTask, weight: Array) -> Double:
    """Reshape a weight to (groups, outputs, K), in the order of the covariance."""
    assert task.covariance is not None
    groups, size = task.covariance.shape[:2]
    return by_output(task.op, weight).reshape(groups, -1, size).astype(np.float64)


def _stored_bias(
    task: WeightTask, weight: QuantParams | None, bias: Array | None
) -> tuple[Array | None, QuantParams | None]:
    if bias is None or task.bias_dtype is None:
        return bias, None
    if task.bias_dtype.is_float:
        return rounded(bias, task.bias_dtype), None
    if weight is None or task.source is None:
        return bias, None
    params = bias_params(task.source, weight, task.bias_dtype)
    return quantize(bias, params), params


# --- scales -------------------------------------------------------------------


def _weight_scales(task: WeightTask, decisions: list[Decision]) -> QuantParams:
    """Cover the weights with scales, raised where the bias or the multiplier would not fit."""
    params = weight_params(task.weight, task.spec, output_axis(task.op))
    if task.source is None or task.source.axis is not None or params.group_size:
        return params
    least = _least_scale(task, params)
    raised = least > params.scale
    if not np.any(raised):
        return params
    scale = np.maximum(params.scale, least).astype(np.float32)
    sentence = (
        f"{int(np.count_nonzero(raised))} of {raised.size} weight scales of {task.node} were "
        f"raised (smallest from {float(params.scale.min()):.3g} to {float(scale.min()):.3g}), "
        f"because the bias or the multiplier would not fit int32 otherwise."
    )
    decisions.append(Decision(Code.BIAS_SCALE_RAISED, sentence, task.node))
    return replace(params, scale=scale)


def _least_scale(task: WeightTask, params: QuantParams) -> Float:
    assert task.source is not None
    source = float(task.source.scale)
    least = np.zeros_like(params.scale, dtype=np.float64)
    if task.bias is not None and task.bias_dtype is DType.INT32:
        magnitude = np.abs(task.bias.astype(np.float64))
        per_channel = magnitude if params.scale.ndim else magnitude.max()
        least = np.maximum(least, per_channel / (source * _BIAS_ROOM))
    if task.result is not None:
        least = np.maximum(least, SMALLEST_MULTIPLIER * float(task.result.scale) / source)
    return least.astype(np.float32)


# --- bias correction ------------------------------------------------------------


def _corrected(
    task: WeightTask, stored: Array, params: QuantParams | None, decisions: list[Decision]
) -> Float:
    """Subtract the mean output error that rounding the weights causes.

    ``E[Wq x + b] - E[W x + b] = (Wq - W) E[x]``, with the channel means of the calibration data
    (Nagel et al. 2019, "Data-Free Quantization through Weight Equalization and Bias Correction",
    section 4.2; padding is ignored).
    """
    assert task.bias is not None and task.channel_mean is not None
    real = stored if params is None else dequantize(stored, params)
    error = np.subtract(real, task.weight, dtype=np.float32)
    shift = mean_response(task.op, error, task.channel_mean)
    largest = float(np.abs(shift).max(initial=0.0))
    sentence = (
        f"The bias of {task.node} was corrected by up to {largest:.3g} for the mean error of its "
        f"{task.spec.dtype.value} weights."
    )
    decisions.append(Decision(Code.BIAS_CORRECTED, sentence, task.node))
    return np.subtract(task.bias, shift, dtype=np.float32)


def mean_response(op: Op, weight: Float, mean: Float) -> Float:
    """Compute the output (O,) of a weighted operator for an input that is constant in space.

    Args:
        op: Conv, DepthwiseConv, ConvTranspose or FullyConnected.
        weight: in the op's layout.
        mean: value of each input channel, (C,).
    """
    nchw = getattr(op, "layout", Layout.NCHW) is Layout.NCHW
    if isinstance(op, FullyConnected):
        return np.asarray(weight @ mean, np.float32)
    if isinstance(op, DepthwiseConv):
        axes = range(1, weight.ndim) if nchw else range(weight.ndim - 1)
        return np.asarray(weight.sum(tuple(axes)) * np.repeat(mean, op.multiplier), np.float32)
    # Taps are (O, I/groups); a transposed kernel is stored (I, O/groups) in NCHW.
    axes = range(2, weight.ndim) if nchw else range(1, weight.ndim - 1)
    taps = weight.sum(tuple(axes))
    if isinstance(op, Conv):
        return _grouped(taps.reshape(op.groups, -1, taps.shape[1]), mean)
    if isinstance(op, ConvTranspose):
        # Each output position sees about 1/prod(strides) of the taps.
        taps = taps / np.float32(np.prod(op.strides))
        if not nchw:
            return _grouped(taps[np.newaxis], mean)
        by_group = taps.reshape(op.groups, -1, taps.shape[1])
        return _grouped(by_group.transpose(0, 2, 1), mean)
    raise InternalError(f"{op.kind} has no weights to correct.")


def _grouped(taps: Float, mean: Float) -> Float:
    """Multiply taps (groups, O/groups, I/groups) by the means (I,), as (O,)."""
    means = mean.reshape(taps.shape[0], taps.shape[2], 1)
    return np.asarray(np.matmul(taps, means), np.float32).ravel()
