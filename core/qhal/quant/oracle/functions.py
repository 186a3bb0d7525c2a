"""Functions of one real number, by operator: what float kernels and look-up tables compute."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from qhal.errors import InternalError
from qhal.ir import ops
from qhal.ir.ops import Op
from qhal.quant.oracle.values import Array

Function = Callable[[Array], Array]

_ERF_STEPS = 256
"""Table entries per unit; the cubic between two of them is exact to 1e-11."""


@cache
def _erf_table() -> npt.NDArray[np.float64]:
    return np.array([math.erf(i / _ERF_STEPS) for i in range(6 * _ERF_STEPS + 2)])


def erf(x: Array) -> Array:
    """Compute the error function, in the type of ``x``: cubic Hermite interpolation of a table."""
    magnitude = np.minimum(np.abs(x.astype(np.float64)), 6.0)
    index = (magnitude * _ERF_STEPS).astype(np.intp)
    start = index / _ERF_STEPS
    t = (magnitude - start) * _ERF_STEPS
    left, right = _erf_table()[index], _erf_table()[index + 1]
    slope = 2 / math.sqrt(math.pi) / _ERF_STEPS
    left_slope = slope * np.exp(-(start**2))
    right_slope = slope * np.exp(-((start + 1 / _ERF_STEPS) ** 2))
    rise = right - left
    curve = t * (1 - t) * ((left_slope - rise) * (1 - t) - (right_slope - rise) * t)
    return np.copysign(left + t * rise + curve, x).astype(x.dtype)


def sigmoid(x: Array) -> Array:
    """Compute 1 / (1 + exp(-x)), without overflow."""
    decayed = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, decayed) / (1 + decayed), x.dtype)


def _softplus(x: Array) -> Array:
    return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), x.dtype)


def _round_half_even(x: Array) -> Array:
    return np.rint(x)


UNARY: Mapping[str, Function] = {
    "Abs": np.abs,
    "Neg": np.negative,
    "Exp": np.exp,
    "Log": np.log,
    "Sqrt": np.sqrt,
    "Rsqrt": lambda x: np.asarray(1 / np.sqrt(x), x.dtype),
    "Reciprocal": lambda x: np.asarray(1 / x, x.dtype),
    "Erf": erf,
    "Sin": np.sin,
    "Cos": np.cos,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Round": _round_half_even,
    "Sign": np.sign,
    "Softplus": _softplus,
    "Not": np.logical_not,
}


def _unary(op: ops.Unary) -> Function:
    if op.function not in UNARY:
        raise InternalError(f"the oracle has no function '{op.function}'")
    return UNARY[op.function]


def _gelu(op: ops.Gelu) -> Function:
    def exact(x: Array) -> Array:
        return np.asarray(x * 0.5 * (1 + erf(x * x.dtype.type(math.sqrt(0.5)))), x.dtype)

    def approximate(x: Array) -> Array:
        inner = x.dtype.type(math.sqrt(2 / math.pi)) * (x + x.dtype.type(0.044715) * x**3)
        return np.asarray(x * 0.5 * (1 + np.tanh(inner)), x.dtype)

    return approximate if op.approximate else exact


def _elu(op: ops.Elu) -> Function:
    return lambda x: np.where(x < 0, op.alpha * np.expm1(np.minimum(x, 0)), x).astype(x.dtype)


def _leaky_relu(op: ops.LeakyRelu) -> Function:
    return lambda x: np.where(x >= 0, x, x * x.dtype.type(op.alpha))


def _hard_sigmoid(op: ops.HardSigmoid) -> Function:
    return lambda x: np.clip(x * x.dtype.type(op.alpha) + x.dtype.type(op.beta), 0, 1)


def _hard_swish(x: Array) -> Array:
    return np.asarray(x * np.clip(x + 3, 0, 6) / 6, x.dtype)


FUNCTIONS: Mapping[type[Op], Callable[[Any], Function]] = {
    ops.Relu: lambda op: lambda x: np.maximum(x, 0),
    ops.Relu6: lambda op: lambda x: np.clip(x, 0, 6),
    ops.Clip: lambda op: lambda x: np.clip(x, op.low, op.high).astype(x.dtype),
    ops.LeakyRelu: _leaky_relu,
    ops.Elu: _elu,
    ops.Sigmoid: lambda op: sigmoid,
    ops.Tanh: lambda op: np.tanh,
    ops.HardSwish: lambda op: _hard_swish,
    ops.HardSigmoid: _hard_sigmoid,
    ops.Silu: lambda op: lambda x: x * sigmoid(x),
    ops.Gelu: _gelu,
    ops.Unary: _unary,
}
"""Operator -> its function, which keeps the type of its argument."""


def function_of(op: Op) -> Function:
    """Return the function that an operator in :data:`FUNCTIONS` computes, quiet at its poles."""
    function = FUNCTIONS[type(op)](op)

    def run(x: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return function(x)

    return run
