"""Forms of element-wise functions and activations.

A form returns the names of its results, or None where the attributes do not allow it.
"""

from __future__ import annotations

from math import inf, isinf, pi, sqrt
from typing import Any

import numpy as np

from qhal.ir import ops
from qhal.legal.forms.draft import Draft

Results = tuple[str, ...] | None


def _times(d: Draft, hint: str, x: str, factor: float) -> str:
    """Write ``x * factor``; nothing for what is 1 in float32."""
    if np.float32(factor) == 1:
        return x
    return d(hint, ops.Mul(), x, d.constant(f"{hint}_factor", factor, d.type(x).dtype))


def _plus(d: Draft, hint: str, x: str, term: float) -> str:
    """Write ``x + term``; nothing for 0."""
    if term == 0:
        return x
    return d(hint, ops.Add(), x, d.constant(f"{hint}_term", term, d.type(x).dtype))


def _made(d: Draft, result: str) -> Results:
    """Return the result; None if it is the operand itself: then there is nothing to write."""
    return None if result in d.node.inputs else (result,)


# --- activations --------------------------------------------------------------


def hard_swish_by_hard_sigmoid(d: Draft) -> Results:
    """Write ``x * hard_sigmoid(x)`` with slope 1/6."""
    x = d.input(0)
    return (d("gated", ops.Mul(), x, d("gate", ops.HardSigmoid(1 / 6, 0.5), x)),)


def hard_swish_by_relu6(d: Draft) -> Results:
    """Write ``x * relu6(x + 3) * 1/6``."""
    x = d.input(0)
    gate = d("relu6", ops.Relu6(), _plus(d, "shifted", x, 3.0))
    return (_times(d, "scaled", d("gated", ops.Mul(), x, gate), 1 / 6),)


def hard_sigmoid_by_relu6(d: Draft) -> Results:
    """Write ``relu6(6 alpha x + 6 beta) / 6``."""
    op: Any = d.node.op
    scaled = _times(d, "sloped", d.input(0), 6 * op.alpha)
    gate = d("relu6", ops.Relu6(), _plus(d, "shifted", scaled, 6 * op.beta))
    return (_times(d, "scaled", gate, 1 / 6),)


def hard_sigmoid_by_clip(d: Draft) -> Results:
    """Write ``clip(alpha x + beta, 0, 1)``."""
    op: Any = d.node.op
    line = _plus(d, "shifted", _times(d, "sloped", d.input(0), op.alpha), op.beta)
    return (d("clipped", ops.Clip(0.0, 1.0), line),)


def silu(d: Draft) -> Results:
    """Write ``x * sigmoid(x)``."""
    x = d.input(0)
    return (d("gated", ops.Mul(), x, d("gate", ops.Sigmoid(), x)),)


def gelu_by_erf(d: Draft) -> Results:
    """Write ``0.5 x (1 + erf(x / sqrt 2))``."""
    op: Any = d.node.op
    if op.approximate:
        return None
    x = d.input(0)
    erf = d("erf", ops.Unary("Erf"), _times(d, "scaled", x, sqrt(0.5)))
    return (_times(d, "halved", d("gated", ops.Mul(), x, _plus(d, "gate", erf, 1.0)), 0.5),)


def gelu_by_tanh(d: Draft) -> Results:
    """Write ``0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))``, within 0.0005 of the exact one."""
    x = d.input(0)
    square = d("square", ops.Mul(), x, x)
    slope = _plus(d, "slope", _times(d, "cubic", square, 0.044715 * sqrt(2 / pi)), sqrt(2 / pi))
    tanh = d("tanh", ops.Tanh(), d("argument", ops.Mul(), x, slope))
    return (_times(d, "halved", d("gated", ops.Mul(), x, _plus(d, "gate", tanh, 1.0)), 0.5),)


def sigmoid_by_tanh(d: Draft) -> Results:
    """Write ``0.5 tanh(x / 2) + 0.5``."""
    tanh = d("tanh", ops.Tanh(), _times(d, "halved", d.input(0), 0.5))
    return (_plus(d, "shifted", _times(d, "scaled", tanh, 0.5), 0.5),)


def tanh_by_sigmoid(d: Draft) -> Results:
    """Write ``2 sigmoid(2 x) - 1``."""
    sigmoid = d("sigmoid", ops.Sigmoid(), _times(d, "doubled", d.input(0), 2.0))
    return (_plus(d, "shifted", _times(d, "scaled", sigmoid, 2.0), -1.0),)


def elu_by_unit_elu(d: Draft) -> Results:
    """Write ``relu(x) + alpha elu(min(x, 0))`` with an alpha of 1 inside."""
    op: Any = d.node.op
    if op.alpha == 1.0:
        return None
    x = d.input(0)
    curve = d("curve", ops.Elu(), d("below", ops.Clip(-inf, 0.0), x))
    return (d("sum", ops.Add(), d("above", ops.Relu(), x), _times(d, "scaled", curve, op.alpha)),)


def elu(d: Draft) -> Results:
    """Write ``relu(x) + alpha (exp(min(x, 0)) - 1)``."""
    op: Any = d.node.op
    x = d.input(0)
    below = d("below", ops.Clip(-inf, 0.0), x)
    curve = _plus(d, "curve", d("exp", ops.Unary("Exp"), below), -1.0)
    return (d("sum", ops.Add(), d("above", ops.Relu(), x), _times(d, "scaled", curve, op.alpha)),)


def softplus(d: Draft) -> Results:
    """Write ``relu(x) + log(1 + exp(-|x|))``, which never overflows."""
    x = d.input(0)
    negative = _times(d, "negative", d("abs", ops.Unary("Abs"), x), -1.0)
    grown = _plus(d, "grown", d("exp", ops.Unary("Exp"), negative), 1.0)
    return (d("sum", ops.Add(), d("above", ops.Relu(), x), d("log", ops.Unary("Log"), grown)),)


# --- bounds -------------------------------------------------------------------


def relu_by_clip(d: Draft) -> Results:
    """Write ``clip(x, 0, inf)``."""
    return (d("clip", ops.Clip(0.0, inf), d.input(0)),)


def relu_by_maximum(d: Draft) -> Results:
    """Write ``maximum(x, 0)``."""
    return (_bounded(d, ops.Maximum(), "low", d.input(0), 0.0),)


def relu6_by_clip(d: Draft) -> Results:
    """Write ``clip(x, 0, 6)``."""
    return (d("clip", ops.Clip(0.0, 6.0), d.input(0)),)


def relu6_by_minimum(d: Draft) -> Results:
    """Write ``minimum(relu(x), 6)``."""
    return (_bounded(d, ops.Minimum(), "high", d("relu", ops.Relu(), d.input(0)), 6.0),)


def _bounded(d: Draft, op: ops.Op, hint: str, x: str, bound: float) -> str:
    return d(hint, op, x, d.constant(f"{hint}_bound", bound, d.type(x).dtype))


def clip_by_relu(d: Draft) -> Results:
    """Write the clips that are a Relu or Relu6."""
    op: Any = d.node.op
    if op.low != 0 or op.high not in (6, inf):
        return None
    return (d("relu", ops.Relu6() if op.high == 6 else ops.Relu(), d.input(0)),)


def clip_by_bounds(d: Draft) -> Results:
    """Write ``minimum(maximum(x, low), high)`` with the bounds that are finite."""
    op: Any = d.node.op
    x = d.input(0)
    if not isinf(op.low):
        x = _bounded(d, ops.Maximum(), "low", x, op.low)
    if not isinf(op.high):
        x = _bounded(d, ops.Minimum(), "high", x, op.high)
    return _made(d, x)


def clip_by_scaled_relu6(d: Draft) -> Results:
    """Write ``relu6((x - low) 6 / (high - low)) (high - low) / 6 + low`` if both are finite."""
    op: Any = d.node.op
    width = op.high - op.low
    if isinf(width) or width <= 0:
        return None
    scaled = _times(d, "scaled", _plus(d, "shifted", d.input(0), -op.low), 6 / width)
    back = _times(d, "width", d("relu6", ops.Relu6(), scaled), width / 6)
    return (_plus(d, "back", back, op.low),)


def clip_by_one_relu(d: Draft) -> Results:
    """Write ``low + relu(x - low)`` or ``high - relu(high - x)`` for one finite bound."""
    op: Any = d.node.op
    if isinf(op.low) == isinf(op.high):
        return None
    sign, bound = (-1.0, op.high) if isinf(op.low) else (1.0, op.low)
    inner = _plus(d, "inner", _times(d, "signed", d.input(0), sign), -sign * bound)
    relu = d("relu", ops.Relu(), inner)
    return (_plus(d, "outer", _times(d, "turned", relu, sign), bound),)


def maximum_by_clip(d: Draft) -> Results:
    """Write a maximum with a constant as a lower bound."""
    return _bound_by_clip(d, lambda bound: ops.Clip(bound, inf))


def minimum_by_clip(d: Draft) -> Results:
    """Write a minimum with a constant as an upper bound."""
    return _bound_by_clip(d, lambda bound: ops.Clip(-inf, bound))


def _bound_by_clip(d: Draft, clip: Any) -> Results:
    for index in (0, 1):
        bound, other = d.scalar_input(index), d.input(1 - index)
        if bound is not None and d.shape(other) == np.broadcast_shapes(
            d.shape(other), d.shape(d.input(index))
        ):
            return (d("clip", clip(bound), other),)
    return None


def maximum_by_relu(d: Draft) -> Results:
    """Write ``a + relu(b - a)``."""
    a, b = d.input(0), d.input(1)
    return (d("sum", ops.Add(), a, d("relu", ops.Relu(), d("difference", ops.Sub(), b, a))),)


def minimum_by_relu(d: Draft) -> Results:
    """Write ``a - relu(a - b)``."""
    a, b = d.input(0), d.input(1)
    return (d("rest", ops.Sub(), a, d("relu", ops.Relu(), d("difference", ops.Sub(), a, b))),)


def leaky_relu_by_prelu(d: Draft) -> Results:
    """Use the same slope for every channel."""
    op: Any = d.node.op
    shape = d.shape(d.input(0))
    channels = (shape[1], *(1,) * (len(shape) - 2)) if len(shape) > 1 else (1,) * len(shape)
    slope = d.constant("slope", np.full(channels, op.alpha), d.type(d.input(0)).dtype)
    return (d("prelu", ops.PRelu(), d.input(0), slope),)


def leaky_relu_by_maximum(d: Draft) -> Results:
    """Write ``maximum(x, alpha x)`` for slopes of at most 1."""
    op: Any = d.node.op
    if op.alpha > 1:
        return None
    return (d("maximum", ops.Maximum(), d.input(0), _times(d, "sloped", d.input(0), op.alpha)),)


def prelu_by_leaky_relu(d: Draft) -> Results:
    """Use one slope for all channels."""
    slope = d.scalar_input(1)
    return None if slope is None else (d("leaky", ops.LeakyRelu(slope), d.input(0)),)


def prelu_by_relu(d: Draft) -> Results:
    """Write ``relu(x) - slope relu(-x)``."""
    x, slope = d.input(0), d.input(1)
    above = d("above", ops.Relu(), x)
    below = d("below", ops.Relu(), _times(d, "negative", x, -1.0))
    return (d("sum", ops.Sub(), above, d("sloped", ops.Mul(), below, slope)),)


# --- arithmetic ---------------------------------------------------------------


def _is_fused(d: Draft) -> bool:
    """Return True if the node also computes an activation, which another operator might not."""
    return d.node.op.fused is not ops.Activation.NONE


def div_by_mul(d: Draft) -> Results:
    """Multiply by the reciprocal of a constant."""
    value = d.constant_input(1)
    if value is None or _is_fused(d) or not d.type(d.input(1)).dtype.is_float or not value.all():
        return None
    inverse = d.constant("inverse", 1 / value.astype(np.float64), d.type(d.input(1)).dtype)
    return (d("quotient", ops.Mul(), d.input(0), inverse),)


def div_by_reciprocal(d: Draft) -> Results:
    """Write ``a * (1 / b)``."""
    if _is_fused(d) or not d.type(d.input(1)).dtype.is_float:
        return None
    inverse = d("inverse", ops.Unary("Reciprocal"), d.input(1))
    return (d("quotient", ops.Mul(), d.input(0), inverse),)


def truncating_mod(d: Draft) -> Results:
    """Write the remainder for the divisor, or for its negative, whichever has the other's sign.

    Both remainders are computed, and one is chosen: were the divisor chosen first, quantization
    could round it to 0. The smallest integer of a type has no negative, and so no such form.
    """
    op: Any = d.node.op
    x, y = d.node.inputs
    dtype, divisor = d.type(y).dtype, d.constant_input(1)
    smallest = dtype.qmin if dtype.is_integer else 0
    if not op.truncates or (smallest and divisor is not None and (divisor == smallest).any()):
        return None
    other = d("other", ops.Mod(), x, d("opposite", ops.Unary("Neg"), y))
    signs = [
        d("below", ops.Compare("<"), name, d.constant("zero", 0, d.type(name).dtype))
        for name in (x, y)
    ]
    differ = d("differ", ops.Logical("Xor"), *signs)
    return (d("chosen", ops.Where(), differ, other, d("plain", ops.Mod(), x, y)),)


def sub_by_add(d: Draft) -> Results:
    """Write ``a + (-b)``, with the constant negated at compile time if ``b`` is one."""
    value = d.constant_input(1)
    if _is_fused(d):
        return None
    if value is None:
        return (d("sum", ops.Add(), d.input(0), _times(d, "negative", d.input(1), -1.0)),)
    negative = d.constant("negative", np.negative(value), d.type(d.input(1)).dtype)
    return (d("sum", ops.Add(), d.input(0), negative),)


def power(d: Draft) -> Results:
    """Write powers by 2, 3, 1/2, -1/2 and -1."""
    x, exponent = d.input(0), d.scalar_input(1)
    if d.shape(x) != d.shape(d.node.outputs[0]):
        return None
    roots = {0.5: "Sqrt", -0.5: "Rsqrt", -1.0: "Reciprocal"}
    if exponent in roots:
        return (d("root", ops.Unary(roots[exponent]), x),)
    if exponent not in (2.0, 3.0):
        return None
    square = d("square", ops.Mul(), x, x)
    return (square,) if exponent == 2 else (d("cube", ops.Mul(), square, x),)


def rsqrt_by_div(d: Draft) -> Results:
    """Write ``1 / sqrt(x)``."""
    root = d("root", ops.Unary("Sqrt"), d.input(0))
    return (d("inverse", ops.Div(), d.constant("one", 1.0, d.type(root).dtype), root),)


def sqrt_by_power(d: Draft) -> Results:
    """Write ``x ** 0.5``."""
    half = d.constant("half", 0.5, d.type(d.input(0)).dtype)
    return (d("root", ops.Pow(), d.input(0), half),)


def reciprocal_by_div(d: Draft) -> Results:
    """Write ``1 / x``."""
    one = d.constant("one", 1.0, d.type(d.input(0)).dtype)
    return (d("inverse", ops.Div(), one, d.input(0)),)


def neg(d: Draft) -> Results:
    """Write ``x * -1``."""
    return (_times(d, "negative", d.input(0), -1.0),)


def abs_by_maximum(d: Draft) -> Results:
    """Write ``maximum(x, -x)``."""
    x = d.input(0)
    return (d("larger", ops.Maximum(), x, _times(d, "negative", x, -1.0)),)


def abs_by_relu(d: Draft) -> Results:
    """Write ``relu(x) + relu(-x)``."""
    x = d.input(0)
    below = d("below", ops.Relu(), _times(d, "negative", x, -1.0))
    return (d("sum", ops.Add(), d("above", ops.Relu(), x), below),)


def sign_by_comparing(d: Draft) -> Results:
    """Write ``(x > 0) - (x < 0)``."""
    x, dtype = d.input(0), d.type(d.input(0)).dtype
    zero = d.constant("zero", 0, dtype)
    above, below = (
        d(hint, ops.Cast(dtype), d("comparison", ops.Compare("<"), *pair))
        for hint, pair in (("above", (zero, x)), ("below", (x, zero)))
    )
    return (d("sign", ops.Sub(), above, below),)
