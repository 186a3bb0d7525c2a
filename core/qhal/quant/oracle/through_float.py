"""Integer nodes without a kernel of their own: dequantize, compute in float32, quantize."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qhal.ir.dtypes import DType
from qhal.quant.arithmetic import dequantize
from qhal.quant.model import QuantParams
from qhal.quant.oracle.rescale import quantize_real
from qhal.quant.oracle.step import Kernel, Operands, Real, Step, operands_of
from qhal.quant.oracle.values import Array

Builder = Callable[[Step], Kernel]
Function = Callable[[Array], Array]
Table = Callable[[Array], Array]


def through_float(step: Step, build: Builder) -> Kernel:
    """A float kernel between Dequantize and Quantize, where there is something to convert.

    Operands without parameters (indices, conditions) pass as they are; so do results. Constants
    are converted once.
    """
    kernel = build(step)
    constants = {i: step.real_value(i) for i in range(len(step.node.inputs))}

    def real(index: int, value: Array | None) -> Array | None:
        if value is None or constants[index] is not None:
            return constants[index]
        return step.to_real(value, index)

    def run(operands: Operands) -> tuple[Array, ...]:
        results = kernel([real(i, value) for i, value in enumerate(operands)])
        named = zip(step.node.outputs, results, strict=True)
        return tuple(_stored(step, name, value) for name, value in named)

    return run


def _stored(step: Step, name: str, value: Array) -> Array:
    params = step.params.get(name)
    return value if params is None else quantize_real(value, params, step.arithmetic)


def integer_table(dtype: DType, function: Table) -> Table:
    """A look-up table over every integer of a type of 8 or 16 bits.

    Args:
        dtype: type of the argument.
        function: computes the results of an array of such integers.
    """
    low = dtype.qmin
    table = function(np.arange(low, dtype.qmax + 1).astype(dtype.numpy))
    return lambda x: table[x.astype(np.intp) - low]


def tabulate(source: QuantParams, function: Callable[[Real], Array]) -> Table:
    """A look-up table over every real number that ``source`` can hold."""
    return integer_table(source.dtype, lambda x: function(dequantize(x, source)))


def by_integers(source: QuantParams, function: Table) -> Kernel:
    """The kernel of a function of stored integers."""
    return unary(integer_table(source.dtype, function))


def by_table(step: Step, function: Function) -> Kernel:
    """The kernel of a function of real numbers, rounded as Quantize rounds."""
    output, arithmetic = step.output_params(), step.arithmetic
    return unary(
        tabulate(step.input_params(), lambda x: quantize_real(function(x), output, arithmetic))
    )


def unary(function: Table) -> Kernel:
    """The kernel of a function of the first operand."""
    return lambda operands: (function(operands_of(operands)[0]),)
