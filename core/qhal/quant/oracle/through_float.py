"""Integer nodes without a kernel of their own: dequantize, compute in float32, quantize."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qhal.ir.dtypes import DType
from qhal.quant.arithmetic import dequantize
from qhal.quant.model import QuantParams
from qhal.quant.oracle.context import Kernel, KernelContext, Operands, Real, operands_of
from qhal.quant.oracle.rescale import quantize_real
from qhal.quant.oracle.values import Array

Builder = Callable[[KernelContext], Kernel]
Function = Callable[[Array], Array]
Lookup = Callable[[Array], Array]


def through_float(context: KernelContext, build: Builder) -> Kernel:
    """Wrap a float kernel in Dequantize and Quantize, where there is something to convert.

    Operands without parameters (indices, conditions) pass as they are; so do results. Constants
    are converted once.
    """
    kernel = build(context)
    constants = {i: context.real_value(i) for i in range(len(context.node.inputs))}

    def real(index: int, value: Array | None) -> Array | None:
        if value is None or constants[index] is not None:
            return constants[index]
        return context.to_real(value, index)

    def run(operands: Operands) -> tuple[Array, ...]:
        results = kernel([real(i, value) for i, value in enumerate(operands)])
        named = zip(context.node.outputs, results, strict=True)
        return tuple(_stored(context, name, value) for name, value in named)

    return run


def _stored(context: KernelContext, name: str, value: Array) -> Array:
    params = context.params.get(name)
    return value if params is None else quantize_real(value, params, context.arithmetic)


def integer_table(dtype: DType, function: Lookup) -> Lookup:
    """Build a look-up table over every integer of a type of 8 or 16 bits.

    Args:
        dtype: type of the argument.
        function: computes the results of an array of such integers.
    """
    low = dtype.qmin
    table = function(np.arange(low, dtype.qmax + 1).astype(dtype.numpy))
    return lambda x: table[x.astype(np.intp) - low]


def tabulate(source: QuantParams, function: Callable[[Real], Array]) -> Lookup:
    """Build a look-up table over every real number that ``source`` can hold."""
    return integer_table(source.dtype, lambda x: function(dequantize(x, source)))


def by_integers(source: QuantParams, function: Lookup) -> Kernel:
    """Build the kernel of a function of stored integers."""
    return unary(integer_table(source.dtype, function))


def by_table(context: KernelContext, function: Function) -> Kernel:
    """Build the kernel of a function of real numbers, rounded as Quantize rounds."""
    output, arithmetic = context.output_params(), context.arithmetic
    return unary(
        tabulate(context.input_params(), lambda x: quantize_real(function(x), output, arithmetic))
    )


def unary(function: Lookup) -> Kernel:
    """Build the kernel of a function of the first operand."""
    return lambda operands: (function(operands_of(operands)[0]),)
