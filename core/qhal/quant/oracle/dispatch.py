"""Which kernel computes a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qhal.errors import InternalError
from qhal.ir import ops
from qhal.ir.ops import Op
from qhal.quant.arithmetic import dequantize
from qhal.quant.oracle.dynamic import build_dynamic, is_dynamic
from qhal.quant.oracle.fixed import FIXED
from qhal.quant.oracle.functions import FUNCTIONS, function_of
from qhal.quant.oracle.integer import INTEGER
from qhal.quant.oracle.mlas import MLAS
from qhal.quant.oracle.real import FLOAT
from qhal.quant.oracle.rescale import quantize_real, requantize
from qhal.quant.oracle.step import Kernel, Step
from qhal.quant.oracle.through_float import by_table, through_float, unary
from qhal.targets.capability import Arithmetic


def build(step: Step) -> Kernel:
    """Find the kernel of a node.

    The order is: conversions, integer kernels of the step's arithmetic, integer kernels that round
    nothing, float kernels between Dequantize and Quantize.

    Raises:
        InternalError: the operator is not known.
    """
    kind = type(step.op)
    if kind in CONVERSIONS:
        return CONVERSIONS[kind](step)
    if kind not in FLOAT:
        raise InternalError(f"the oracle has no kernel for {step.op.kind} ('{step.node.name}')")
    if is_dynamic(step):
        return build_dynamic(step)
    if step.integer:
        for table in _TABLES[step.arithmetic]:
            if kind in table and (kernel := table[kind](step)) is not None:
                return kernel
        if kind in FUNCTIONS:
            return by_table(step, function_of(step.op))
    return through_float(step, FLOAT[kind])


_TABLES = {
    Arithmetic.FIXED_POINT: (FIXED, INTEGER),
    Arithmetic.FLOAT: (MLAS, INTEGER),
}


def _build_quantize(step: Step) -> Kernel:
    output, arithmetic = step.output_params(), step.arithmetic
    return unary(lambda x: quantize_real(x, output, arithmetic))


def _build_dequantize(step: Step) -> Kernel:
    source = step.input_params()
    return unary(lambda x: dequantize(x, source))


def _build_requantize(step: Step) -> Kernel:
    source, output, arithmetic = step.input_params(), step.output_params(), step.arithmetic
    return unary(lambda x: requantize(x, source, output, arithmetic))


CONVERSIONS: Mapping[type[Op], Callable[[Step], Kernel]] = {
    ops.Quantize: _build_quantize,
    ops.Dequantize: _build_dequantize,
    ops.Requantize: _build_requantize,
}
"""Operators that convert between types by the parameters of their tensors."""
