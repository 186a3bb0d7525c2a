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
from qhal.quant.oracle.context import Kernel, KernelContext, Operands, operands_of, scalar
from qhal.quant.oracle.rescale import quantize_real, requantize, rescaler
from qhal.quant.oracle.values import Array
from qhal.quant.oracle.weighted import GEOMETRIES, build_weighted

IntegerBuilder = Callable[[KernelContext], Kernel | None]


def same_params(context: KernelContext) -> bool:
    """Return True if all quantized operands and results have the first result's parameters."""
    output = context.output_params()
    names = (*context.node.inputs, *context.node.outputs)
    return all(context.params[name].same_as(output) for name in names if name in context.params)


def unchanged(build: Callable[[KernelContext], Kernel]) -> IntegerBuilder:
    """Build a kernel that works on stored integers, where all parameters agree."""
    return lambda context: build(context) if same_params(context) else None


def _build_concat(context: KernelContext) -> Kernel:
    """Build Concat; requantize operands with other parameters first (``QLinearConcat``)."""
    op = context.op
    assert isinstance(op, ops.Concat)
    output, arithmetic = context.output_params(), context.arithmetic
    sources = [context.input_params(i) for i in range(len(context.node.inputs))]

    def run(operands: Operands) -> tuple[Array, ...]:
        pairs = zip(operands_of(operands), sources, strict=True)
        parts = [requantize(x, source, output, arithmetic) for x, source in pairs]
        return (np.concatenate(parts, op.axis),)

    return run


def _build_pad(context: KernelContext) -> Kernel | None:
    """Build Pad with the integer of the real value (zero: the zero point)."""
    op = context.op
    assert isinstance(op, ops.Pad)
    if not same_params(context):
        return None
    filler = quantize_real(np.asarray(op.value), context.output_params(), context.arithmetic)
    return movement.build_pad(context, int(filler))


def _build_resize(context: KernelContext) -> Kernel | None:
    op = context.op
    assert isinstance(op, ops.Resize)
    if op.mode != "nearest" or not same_params(context):
        return None
    return movement.build_resize_nearest(context)


def _build_reduce(context: KernelContext) -> Kernel | None:
    op = context.op
    assert isinstance(op, ops.Reduce)
    if op.function not in ("Max", "Min") or not same_params(context):
        return None
    return real.build_reduce(context)


def _build_mat_mul(context: KernelContext) -> Kernel:
    """Build the product of two integer activations.

    LiteRT multiplies the two input scales in float32 (``GetQuantizedConvolutionMultipler`` in
    tflite/kernels/kernel_util.cc).
    """
    left, right, output = context.input_params(0), context.input_params(1), context.output_params()
    (a_scale, a_zero), (b_scale, b_zero) = scalar(left), scalar(right)
    work = np.float64 if context.arithmetic.is_fixed_point else np.float32
    divisor = work(scalar(output)[0])
    limits = (output.dtype.qmin, output.dtype.qmax)
    finish = rescaler(
        a_scale * b_scale / divisor, None, output, limits, context.arithmetic, left.dtype.bits > 8
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
