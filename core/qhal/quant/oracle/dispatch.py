"""Which kernel computes a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qhal.errors import InternalError
from qhal.ir import ops
from qhal.ir.ops import Op
from qhal.quant.arithmetic import dequantize
from qhal.quant.oracle.context import Kernel, KernelContext
from qhal.quant.oracle.dynamic import build_dynamic, is_dynamic
from qhal.quant.oracle.fixed import FIXED
from qhal.quant.oracle.functions import FUNCTIONS, function_of
from qhal.quant.oracle.integer import INTEGER
from qhal.quant.oracle.mlas import MLAS
from qhal.quant.oracle.real import FLOAT
from qhal.quant.oracle.rescale import quantize_real, requantize
from qhal.quant.oracle.through_float import by_table, through_float, unary
from qhal.targets.capability import Arithmetic


def build(context: KernelContext) -> Kernel:
    """Find the kernel of a node.

    The order is: conversions, integer kernels of the context's arithmetic, integer kernels that
    round nothing, float kernels between Dequantize and Quantize.

    Raises:
        InternalError: the operator is not known.
    """
    kind = type(context.op)
    if kind in CONVERSIONS:
        return CONVERSIONS[kind](context)
    if kind not in FLOAT:
        raise InternalError(
            f"the oracle has no kernel for {context.op.kind} ('{context.node.name}')"
        )
    if is_dynamic(context):
        return build_dynamic(context)
    if context.integer:
        for table in _TABLES[context.arithmetic]:
            if kind in table and (kernel := table[kind](context)) is not None:
                return kernel
        if kind in FUNCTIONS:
            return by_table(context, function_of(context.op))
    return through_float(context, FLOAT[kind])


_TABLES = {
    Arithmetic.FIXED_POINT: (FIXED, INTEGER),
    Arithmetic.FLOAT: (MLAS, INTEGER),
}


def _build_quantize(context: KernelContext) -> Kernel:
    output, arithmetic = context.output_params(), context.arithmetic
    return unary(lambda x: quantize_real(x, output, arithmetic))


def _build_dequantize(context: KernelContext) -> Kernel:
    source = context.input_params()
    return unary(lambda x: dequantize(x, source))


def _build_requantize(context: KernelContext) -> Kernel:
    source, output, arithmetic = context.input_params(), context.output_params(), context.arithmetic
    return unary(lambda x: requantize(x, source, output, arithmetic))


CONVERSIONS: Mapping[type[Op], Callable[[KernelContext], Kernel]] = {
    ops.Quantize: _build_quantize,
    ops.Dequantize: _build_dequantize,
    ops.Requantize: _build_requantize,
}
"""Operators that convert between types by the parameters of their tensors."""
