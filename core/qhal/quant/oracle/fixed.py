"""The integer kernels that follow LiteRT's reference implementation bit for bit.

Together with the convolutions, fully connected layers and products of :mod:`.integer`, whose
rescaling knows both arithmetics. tests/core/quant/oracle compares each with LiteRT itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from qhal.ir import ops
from qhal.ir.ops import Op
from qhal.quant.oracle.fixed_elementwise import (
    build_clip,
    build_hard_swish,
    build_leaky_relu,
    build_prelu,
    build_product,
    build_sum,
)
from qhal.quant.oracle.fixed_softmax import build_softmax
from qhal.quant.oracle.fixed_table import build_squash, build_table, build_unary
from qhal.quant.oracle.fixed_window import build_average_pool, build_reduce, build_resize
from qhal.quant.oracle.integer import IntegerBuilder

FIXED: Mapping[type[Op], IntegerBuilder] = {
    ops.Add: build_sum,
    ops.Sub: build_sum,
    ops.Mul: build_product,
    ops.Relu: build_clip,
    ops.Relu6: build_clip,
    ops.Clip: build_clip,
    ops.LeakyRelu: build_leaky_relu,
    ops.PRelu: build_prelu,
    ops.HardSwish: build_hard_swish,
    ops.Sigmoid: build_squash,
    ops.Tanh: build_squash,
    ops.Elu: build_table,
    ops.Gelu: build_table,
    ops.Unary: build_unary,
    ops.Softmax: build_softmax,
    ops.Reduce: build_reduce,
    ops.AveragePool: build_average_pool,
    ops.Resize: build_resize,
}
"""Operator -> builder of its integer kernel; None where it does not apply."""
