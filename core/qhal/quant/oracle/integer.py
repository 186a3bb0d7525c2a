"""Integer kernels that both arithmetics share: they round nothing, or rescale one product.

A builder returns None where its kernel does not apply, for instance because operand and result
have different parameters; the node is then computed through float.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from qhal.ir import ops
from qhal.ir.ops import Op
from qhal.quant.oracle import movement, real
from qhal.quant.oracle.rescale import quantize_real, requantize, rescaler
from qhal.quant.oracle.step import Kernel, Operands, Step, operands_of, scalar
from qhal.quant.oracle.values import Array
from qhal.quant.oracle.weighted import GEOMETRIES, build_weighted

IntegerBuilder = Callable[[Step], Kernel | None]


def same_params(step: Step) -> bool:
    """True if every quantized operand and result has the parameters of the first result."""
    output = step.output_params()
    names = (*step.node.inputs, *step.node.outputs)
    return all(step.params[name].same_as(output) for name in names if name in step.params)


def unchanged(build: Callable[[Step], Kernel]) -> IntegerBuilder:
    """A kernel that works on stored integers, where all parameters agree."""
    return lambda step: build(step) if same_params(step) else None


def _build_concat(step: Step) -> Kernel:
    """Operands with other parameters are requantized first (``QLinearConcat``)."""
    op = step.op
    assert isinstance(op, ops.Concat)
    output, arithmetic = step.output_params(), step.arithmetic
    sources = [step.input_params(i) for i in range(len(step.node.inputs))]

    def run(operands: Operands) -> tuple[Array, ...]:
        pairs = zip(operands_of(operands), sources, strict=True)
        parts = [requantize(x, source, output, arithmetic) for x, source in pairs]
        return (np.concatenate(parts, op.axis),)

    return run


def _build_pad(step: Step) -> Kernel | None:
    """Padding is the integer of the real value (zero: the zero point)."""
    op = step.op
    assert isinstance(op, ops.Pad)
    if not same_params(step):
        return None
    filler = quantize_real(np.asarray(op.value), step.output_params(), step.arithmetic)
    return movement.build_pad(step, int(filler))


def _build_resize(step: Step) -> Kernel | None:
    op = step.op
    assert isinstance(op, ops.Resize)
    if op.mode != "nearest" or not same_params(step):
        return None
    return movement.build_resize_nearest(step)


def _build_reduce(step: Step) -> Kernel | None:
    op = step.op
    assert isinstance(op, ops.Reduce)
    if op.function not in ("Max", "Min") or not same_params(step):
        return None
    return real.build_reduce(step)


def _build_mat_mul(step: Step) -> Kernel:
    """Product of two integer activations.

    LiteRT multiplies the two input scales in float32 (``GetQuantizedConvolutionMultipler`` in
    tflite/kernels/kernel_util.cc).
    """
    left, right, output = step.input_params(0), step.input_params(1), step.output_params()
    (a_scale, a_zero), (b_scale, b_zero) = scalar(left), scalar(right)
    work = np.float64 if step.arithmetic.is_fixed_point else np.float32
    divisor = work(scalar(output)[0])
    limits = (output.dtype.qmin, output.dtype.qmax)
    finish = rescaler(
        a_scale * b_scale / divisor, None, output, limits, step.arithmetic, left.dtype.bits > 8
    )

    def run(operands: Operands) -> tuple[Array, ...]:
        a, b = operands_of(operands)
        product = (a.astype(np.float64) - a_zero) @ (b.astype(np.float64) - b_zero)
        return (finish(product),)

    return run


INTEGER: Mapping[type[Op], IntegerBuilder] = {
    **dict.fromkeys(GEOMETRIES, build_weighted),
    **dict.fromkeys(movement.MOVES, unchanged(movement.build_move)),
    ops.Split: unchanged(movement.build_split),
    ops.Gather: unchanged(movement.build_gather),
    ops.Where: unchanged(movement.build_where),
    ops.MaxPool: unchanged(movement.build_max_pool),
    ops.Maximum: unchanged(real.build_pair),
    ops.Minimum: unchanged(real.build_pair),
    ops.Concat: _build_concat,
    ops.Pad: _build_pad,
    ops.Resize: _build_resize,
    ops.Reduce: _build_reduce,
    ops.MatMul: _build_mat_mul,
    ops.ArgMax: real.build_arg_max,
}
"""Operator -> builder of its integer kernel."""
