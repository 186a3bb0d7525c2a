"""Element-wise operators and activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import inf

import numpy as np

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.onnx.call import ImportCall, Mapper, Unsupported, need_float
from qhal.ir.ops import Op


def _plain(op: Op, call: ImportCall) -> str:
    return call.result(op, call.tensor(0))


def _float_only(op: Op, call: ImportCall) -> str:
    need_float(call)
    return call.result(op, call.tensor(0))


# --- activations ----------------------------------------------------------------


def _leaky_relu(call: ImportCall) -> str:
    return call.result(ops.LeakyRelu(call.number("alpha", 0.01)), call.tensor(0))


def _elu(call: ImportCall) -> str:
    return call.result(ops.Elu(call.number("alpha", 1.0)), call.tensor(0))


def _hard_sigmoid(call: ImportCall) -> str:
    op = ops.HardSigmoid(call.number("alpha", 0.2), call.number("beta", 0.5))
    return call.result(op, call.tensor(0))


def _gelu(call: ImportCall) -> str:
    approximate = call.text("approximate", "none") == "tanh"
    return call.result(ops.Gelu(approximate), call.tensor(0))


def _swish(call: ImportCall) -> str:
    alpha = call.number("alpha", 1.0)
    return _silu(call) if alpha == 1.0 else scaled_silu(call, alpha)


def _silu(call: ImportCall) -> str:
    return call.result(ops.Silu(), call.tensor(0))


def scaled_silu(call: ImportCall, alpha: float) -> str:
    """Emit ``x * sigmoid(alpha * x)``."""
    x = call.tensor(0)
    scaled = call.inner(ops.Mul(), x, call.const("alpha", np.float32(alpha)))
    return call.result(ops.Mul(), x, call.inner(ops.Sigmoid(), scaled))


def _selu(call: ImportCall) -> str:
    """Emit ``gamma * elu(x, alpha)``."""
    alpha, gamma = call.number("alpha", 1.6732632), call.number("gamma", 1.0507010)
    inner = call.inner(ops.Elu(alpha), call.tensor(0))
    return call.result(ops.Mul(), inner, call.const("gamma", np.float32(gamma)))


def _celu(call: ImportCall) -> str:
    """Emit ``alpha * elu(x / alpha, 1)``."""
    alpha = call.number("alpha", 1.0)
    down = call.inner(ops.Mul(), call.tensor(0), call.const("down", np.float32(1 / alpha)))
    return call.result(ops.Mul(), call.inner(ops.Elu(), down), call.const("up", np.float32(alpha)))


def _softsign(call: ImportCall) -> str:
    """Emit ``x / (1 + |x|)``."""
    x = call.tensor(0)
    one = call.const("one", np.float32(1))
    return call.result(ops.Div(), x, call.inner(ops.Add(), call.inner(ops.Unary("Abs"), x), one))


def _mish(call: ImportCall) -> str:
    """Emit ``x * tanh(softplus(x))``."""
    x = call.tensor(0)
    inner = call.inner(ops.Tanh(), call.inner(ops.Unary("Softplus"), x))
    return call.result(ops.Mul(), x, inner)


def _thresholded_relu(call: ImportCall) -> str:
    """Emit ``x if x > alpha else 0``."""
    x, alpha = call.tensor(0), call.const("alpha", np.float32(call.number("alpha", 1.0)))
    above = call.inner(ops.Compare(">"), x, alpha)
    return call.result(ops.Where(), above, x, call.const("zero", np.float32(0)))


def _prelu(call: ImportCall) -> str:
    return call.result(ops.PRelu(), call.tensor(0), call.tensor(1))


def _clip(call: ImportCall) -> str:
    """Read bounds from attributes before opset 11, else from operands, which may be computed."""
    if not call.type().dtype.is_float:
        return _clip_integers(call)
    if any(call.has(index) and call.constant(index) is None for index in (1, 2)):
        return _clip_by_tensors(call)
    return bounded(call, _bound(call, "min", 1, -inf), _bound(call, "max", 2, inf))


def _clip_integers(call: ImportCall) -> str:
    """Emit ``minimum(maximum(x, low), high)``, as far as the bounds are there."""
    bounds = [(op, i) for op, i in ((ops.Maximum(), 1), (ops.Minimum(), 2)) if call.has(i)]
    x = call.tensor(0)
    for op, index in bounds[:-1]:
        x = call.inner(op, x, call.tensor(index))
    return call.result(bounds[-1][0], x, call.tensor(bounds[-1][1])) if bounds else x


def _clip_by_tensors(call: ImportCall) -> str:
    """Emit ``minimum(maximum(x, low), high)``, less a bound that is absent or infinite."""
    low = call.tensor(1) if _bounds(call, "min", 1, -inf) else ""
    high = call.tensor(2) if _bounds(call, "max", 2, inf) else ""
    if not high:
        return call.result(ops.Maximum(), call.tensor(0), low)
    above = call.inner(ops.Maximum(), call.tensor(0), low) if low else call.tensor(0)
    return call.result(ops.Minimum(), above, high)


def _bounds(call: ImportCall, name: str, operand: int, default: float) -> bool:
    """Return False for a bound that lets everything pass."""
    depends = call.has(operand) and call.constant(operand) is None
    return depends or _bound(call, name, operand, default) != default


def _bound(call: ImportCall, name: str, operand: int, default: float) -> float:
    if call.attribute(name) is not None or not call.has(operand):
        value = call.number(name, default)
    else:
        value = float(call.need(operand, f"{name} bound").reshape(()))
    extreme = float(np.finfo(np.float32).max)
    return default if abs(value) >= extreme and value * default > 0 else value


def bounded(call: ImportCall, low: float, high: float) -> str:
    """Emit the most specific operator that clips to ``[low, high]``."""
    if (low, high) == (-inf, inf):
        return call.tensor(0)
    known = {(0.0, inf): ops.Relu(), (0.0, 6.0): ops.Relu6()}
    return call.result(known.get((low, high), ops.Clip(low, high)), call.tensor(0))


# --- arithmetic -----------------------------------------------------------------


def _binary(op: Op, call: ImportCall) -> str:
    return call.result(op, call.tensor(0), call.tensor(1))


def _sub(call: ImportCall) -> str:
    """Subtract a constant by adding its negative."""
    negated = _float_constant(call, 1)
    if negated is None:
        return _binary(ops.Sub(), call)
    return call.result(ops.Add(), call.tensor(0), call.const("negated", -negated))


def _div(call: ImportCall) -> str:
    """Divide by a constant by multiplying with its reciprocal."""
    if not call.type().dtype.is_float:
        raise Unsupported("it divides integers, which rounds differently")
    divisor = _float_constant(call, 1)
    if divisor is None or not np.abs(divisor).min(initial=1) > np.finfo(np.float32).tiny:
        return _binary(ops.Div(), call)
    reciprocal = (1 / divisor.astype(np.float64)).astype(np.float32)
    if not np.isfinite(reciprocal).all():
        return _binary(ops.Div(), call)
    return call.result(ops.Mul(), call.tensor(0), call.const("reciprocal", reciprocal))


def _float_constant(
    call: ImportCall, index: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None:
    found = call.constant(index)
    return found.astype(np.float32) if found is not None and found.dtype.kind == "f" else None


def _pow(call: ImportCall) -> str:
    """Write small constant exponents as products and roots."""
    exponent = call.constant(1)
    x = call.tensor(0)
    if exponent is not None and exponent.size == 1 and call.type().dtype.is_float:
        special = _POWERS.get(float(exponent.reshape(())))
        if special is not None and len(exponent.shape) <= call.rank():
            return special(call, x)
    dtype = call.type().dtype
    if exponent is not None:
        return call.result(ops.Pow(), x, call.const("exponent", exponent.astype(dtype.numpy)))
    power = call.tensor(1)
    if call.type(1).dtype is not dtype:
        power = call.inner(ops.Cast(dtype), power)
    return call.result(ops.Pow(), x, power)


def _cube(call: ImportCall, x: str) -> str:
    return call.result(ops.Mul(), call.inner(ops.Mul(), x, x), x)


_POWERS: Mapping[float, Callable[[ImportCall, str], str]] = {
    1.0: lambda _, x: x,
    2.0: lambda call, x: call.result(ops.Mul(), x, x),
    3.0: _cube,
    0.5: lambda call, x: call.result(ops.Unary("Sqrt"), x),
    -0.5: lambda call, x: call.result(ops.Unary("Rsqrt"), x),
    -1.0: lambda call, x: call.result(ops.Unary("Reciprocal"), x),
}


def _variadic(op: Op, call: ImportCall) -> str:
    """Write Sum, Max and Min of any number of operands as a chain of pairs."""
    first, *others = call.tensors()
    if not others:
        return first
    for other in others[:-1]:
        first = call.inner(op, first, other)
    return call.result(op, first, others[-1])


def _mean(call: ImportCall) -> str:
    first, *others = call.tensors()
    for other in others:
        first = call.inner(ops.Add(), first, other)
    share = call.const("share", np.float32(1 / (1 + len(others))))
    return call.result(ops.Mul(), first, share)


def _compare(relation: str, call: ImportCall) -> str:
    return call.result(ops.Compare(relation), call.tensor(0), call.tensor(1))


def _mod(call: ImportCall) -> str:
    return call.result(ops.Mod(call.flag("fmod")), call.tensor(0), call.tensor(1))


def _logical(function: str, call: ImportCall) -> str:
    return call.result(ops.Logical(function), call.tensor(0), call.tensor(1))


def _where(call: ImportCall) -> str:
    return call.result(ops.Where(), *(call.tensor(i) for i in range(3)))


# --- types ----------------------------------------------------------------------


def cast(call: ImportCall, to: DType) -> str:
    """Emit a Cast, unless the element type is there already; float types are float32."""
    to = DType.FLOAT32 if to.is_float else to
    if call.type().dtype is to:
        return call.tensor(0)
    return call.result(ops.Cast(to), call.tensor(0))


def _cast_like(call: ImportCall) -> str:
    return cast(call, call.type(1).dtype)


def _same(call: ImportCall) -> str:
    return call.tensor(0)


_UNARY = tuple(name for name in ops.Unary.functions if name != "Rsqrt")  # ONNX has none

_COMPARED = {
    "Equal": "==",
    "Less": "<",
    "LessOrEqual": "<=",
    "Greater": ">",
    "GreaterOrEqual": ">=",
}

ELEMENTWISE: Mapping[str, Mapper] = {
    **{name: partial(_plain, ops.Unary(name)) for name in _UNARY},
    **{name: partial(_compare, sign) for name, sign in _COMPARED.items()},
    **{name: partial(_logical, name) for name in ("And", "Or", "Xor")},
    "Relu": partial(_float_only, ops.Relu()),
    "Sigmoid": partial(_plain, ops.Sigmoid()),
    "Tanh": partial(_plain, ops.Tanh()),
    "HardSwish": partial(_plain, ops.HardSwish()),
    "LeakyRelu": _leaky_relu,
    "Elu": _elu,
    "HardSigmoid": _hard_sigmoid,
    "Gelu": _gelu,
    "Swish": _swish,
    "Selu": _selu,
    "Celu": _celu,
    "Softsign": _softsign,
    "Mish": _mish,
    "ThresholdedRelu": _thresholded_relu,
    "PRelu": _prelu,
    "Clip": _clip,
    "Add": partial(_binary, ops.Add()),
    "Sub": _sub,
    "Mul": partial(_binary, ops.Mul()),
    "Div": _div,
    "Pow": _pow,
    "Mod": _mod,
    "Sum": partial(_variadic, ops.Add()),
    "Max": partial(_variadic, ops.Maximum()),
    "Min": partial(_variadic, ops.Minimum()),
    "Mean": _mean,
    "Where": _where,
    "CastLike": _cast_like,
    "Identity": _same,
    "Dropout": _same,
}
