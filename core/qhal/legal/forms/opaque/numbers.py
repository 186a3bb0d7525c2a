"""Functions of single numbers: of angles, and what is infinite or no number."""

from __future__ import annotations

from math import inf

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.legal.forms.draft import Draft
from qhal.legal.forms.functions import Results
from qhal.legal.forms.opaque.node import Attributes


def is_nan(d: Draft) -> Results:
    """Compare with itself: only what is no number differs."""
    x = d.input(0)
    return (d("differs", ops.Unary("Not"), d("equal", ops.Compare("=="), x, x)),)


def is_inf(d: Draft) -> Results:
    """Compare with the infinities that are asked for."""
    attributes = Attributes(d)
    signs = {inf: "detect_positive", -inf: "detect_negative"}
    wanted = [value for value, name in signs.items() if attributes.integer(name, 1)]
    if not wanted:
        return None
    x = d.input(0)
    found = [d("equal", ops.Compare("=="), x, _number(d, value)) for value in wanted]
    return (found[0] if len(found) == 1 else d("either", ops.Logical("Or"), *found),)


def _number(d: Draft, value: float) -> str:
    return d.constant("number", value, DType.FLOAT32)


def tan(d: Draft) -> Results:
    """Divide the sine by the cosine."""
    x = d.input(0)
    return (d("tan", ops.Div(), d("sin", ops.Unary("Sin"), x), d("cos", ops.Unary("Cos"), x)),)


def sinh(d: Draft) -> Results:
    """Write ``(exp(x) - exp(-x)) / 2``; near 0 the terms cancel to within their rounding."""
    return (_half(d, d("difference", ops.Sub(), *_powers(d))),)


def cosh(d: Draft) -> Results:
    """Write ``(exp(x) + exp(-x)) / 2``."""
    return (_half(d, d("sum", ops.Add(), *_powers(d))),)


def _powers(d: Draft) -> tuple[str, str]:
    x = d.input(0)
    minus = d("minus", ops.Unary("Neg"), x)
    return d("exp", ops.Unary("Exp"), x), d("inverse", ops.Unary("Exp"), minus)


def _half(d: Draft, x: str) -> str:
    return d("half", ops.Mul(), x, _number(d, 0.5))


def asinh(d: Draft) -> Results:
    """Write ``sign(x) log(s (a + sqrt(a^2 + 1/s^2)))`` with ``s = max(|x|, 1)`` and ``a = |x|/s``.

    No square overflows. Near 0 the logarithm is that of almost 1, to within the rounding of 1.
    """
    x, one = d.input(0), _number(d, 1)
    size = d("size", ops.Unary("Abs"), x)
    scale = d("scale", ops.Maximum(), size, one)
    part, inverse = d("part", ops.Div(), size, scale), d("inverse", ops.Div(), one, scale)
    total = d("total", ops.Add(), _square(d, part), _square(d, inverse))
    log = _log_of_scaled_sum(d, scale, part, total)
    return (d("signed", ops.Mul(), d("sign", ops.Unary("Sign"), x), log),)


def acosh(d: Draft) -> Results:
    """Write ``log(x (1 + sqrt(1 - 1/x^2)))``, in which no square overflows."""
    x, one = d.input(0), _number(d, 1)
    rest = d("rest", ops.Sub(), one, _square(d, d("inverse", ops.Div(), one, x)))
    return (_log_of_scaled_sum(d, x, one, rest),)


def _square(d: Draft, x: str) -> str:
    return d("square", ops.Mul(), x, x)


def _log_of_scaled_sum(d: Draft, scale: str, x: str, square: str) -> str:
    """Write ``log(scale (x + sqrt(square)))``."""
    total = d("sum", ops.Add(), x, d("root", ops.Unary("Sqrt"), square))
    return d("log", ops.Unary("Log"), d("scaled", ops.Mul(), scale, total))


def atanh(d: Draft) -> Results:
    """Write ``log((1 + x) / (1 - x)) / 2``; near 0 to within the rounding of 1."""
    x, one = d.input(0), _number(d, 1)
    ratio = d("ratio", ops.Div(), d("more", ops.Add(), one, x), d("less", ops.Sub(), one, x))
    return (_half(d, d("log", ops.Unary("Log"), ratio)),)
