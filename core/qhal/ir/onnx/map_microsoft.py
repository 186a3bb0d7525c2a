"""Operators of ONNX Runtime's own, in the domain ``com.microsoft``: what its optimizer writes.

Their definitions: ONNX Runtime, docs/ContribOperators.md and core/graph/contrib_ops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf

import numpy as np

from qhal.ir import ops
from qhal.ir.onnx.call import ImportCall, Mapper, Unsupported, need_float
from qhal.ir.onnx.map_elementwise import scaled_silu
from qhal.ir.onnx.map_products import bias_of, conv_op
from qhal.ir.ops import Op

# --- GELU -------------------------------------------------------------------------


def _gelu(call: ImportCall) -> str:
    return call.result(ops.Gelu(), _sum_of(call, 0, 1))


def _fast_gelu(call: ImportCall) -> str:
    return call.result(ops.Gelu(approximate=True), _sum_of(call, 0, 1))


def _quick_gelu(call: ImportCall) -> str:
    return scaled_silu(call, call.number("alpha", 1.702))


def _sum_of(call: ImportCall, *operands: int) -> str:
    """Add up the operands that are there."""
    first, *others = (call.tensor(index) for index in operands if call.has(index))
    for other in others:
        first = call.inner(ops.Add(), first, other)
    return first


# --- normalization ----------------------------------------------------------------


def _skip_layer_norm(call: ImportCall) -> tuple[str, ...]:
    """Emit LayerNorm of ``input + skip + bias``; the sum is the fourth output."""
    _check_statistics(call)
    total = _sum_of(call, 0, 1, 4)
    operands = [total, call.tensor(2), *([call.tensor(3)] if call.has(3) else [])]
    axis = len(call.scope.builder.type(total).shape) - 1
    op = ops.LayerNorm(axis, call.number("epsilon", 1e-12))
    return call.result(op, *operands), "", "", total


def _root_mean_square_norm(call: ImportCall) -> str:
    if call.used(1):
        raise Unsupported("its output of deviations is used")
    axis = call.axis(default=-1)
    return _by_root_mean_square(call, call.tensor(0), axis, call.tensor(1), 1e-5)


def _skip_root_mean_square_norm(call: ImportCall) -> tuple[str, ...]:
    """Normalize ``input + skip + bias``; the sum is the fourth output."""
    _check_statistics(call)
    total = _sum_of(call, 0, 1, 3)
    axis = len(call.scope.builder.type(total).shape) - 1
    return _by_root_mean_square(call, total, axis, call.tensor(2), 1e-12), "", "", total


def _check_statistics(call: ImportCall) -> None:
    if call.used(1) or call.used(2):
        raise Unsupported("its outputs of mean or deviation are used")


def _by_root_mean_square(call: ImportCall, x: str, axis: int, scale: str, epsilon: float) -> str:
    """Emit ``x * rsqrt(mean(x * x) + epsilon) * scale``."""
    axes = tuple(range(axis, len(call.scope.builder.type(x).shape)))
    mean = call.inner(ops.Reduce("Mean", axes), call.inner(ops.Mul(), x, x))
    guard = call.const("epsilon", np.float32(call.number("epsilon", epsilon)))
    inverse = call.inner(ops.Unary("Rsqrt"), call.inner(ops.Add(), mean, guard))
    return call.result(ops.Mul(), call.inner(ops.Mul(), x, inverse), scale)


# --- products ---------------------------------------------------------------------


def _fused_matmul(call: ImportCall) -> str:
    """Emit ``alpha * A' B'``, where each operand may be transposed."""
    need_float(call)
    if call.flag("transBatchA") or call.flag("transBatchB"):
        raise Unsupported("it transposes batches")
    alpha, weight = call.number("alpha", 1.0), call.constant(1)
    x = _turned(call, 0, "transA")
    if weight is not None and weight.ndim == 2 and call.constant(0) is None and call.rank() > 1:
        rows = weight if call.flag("transB") else weight.T
        scaled = rows.astype(np.float32) * np.float32(alpha)
        name = call.scope.share(str(call.value(1).name), rows if alpha == 1.0 else scaled)
        return call.result(ops.FullyConnected(), x, name)
    y = _turned(call, 1, "transB")
    if alpha == 1.0:
        return call.result(ops.MatMul(), x, y)
    factor = call.const("alpha", np.float32(alpha))
    return call.result(ops.Mul(), call.inner(ops.MatMul(), x, y), factor)


def _turned(call: ImportCall, index: int, flag: str) -> str:
    """Return an operand with its last two dimensions swapped where the flag says so."""
    name, rank = call.tensor(index), call.rank(index)
    if rank < 2:
        raise Unsupported("it multiplies vectors")
    if not call.flag(flag):
        return name
    return call.inner(ops.Transpose((*range(rank - 2), rank - 1, rank - 2)), name)


def _fused_conv(call: ImportCall) -> str:
    """Emit ``activation(conv(x) + z)``."""
    need_float(call)
    made = _activation(call)
    operands = (call.tensor(0), call.tensor(1), *bias_of(call))
    if not made and not call.has(3):
        return call.result(conv_op(call), *operands)
    total = call.inner(conv_op(call), *operands)
    if not call.has(3):
        return call.result(made[0], total)
    if not made:
        return call.result(ops.Add(), total, call.tensor(3))
    return call.result(made[0], call.inner(ops.Add(), total, call.tensor(3)))


def _activation(call: ImportCall) -> tuple[Op, ...]:
    """Return the activation behind a convolution; none where the node has none."""
    name, found = call.text("activation", ""), call.attribute("activation_params")
    if not name:
        return ()
    make = _ACTIVATIONS.get(name)
    if make is None:
        raise Unsupported(f"its activation is {name}")
    return (make([] if found is None else list(found.as_floats())),)


def _clip(bounds: Sequence[float]) -> Op:
    low, high = bounds or (-inf, inf)
    known: Mapping[tuple[float, float], Op] = {(0, inf): ops.Relu(), (0, 6): ops.Relu6()}
    return known.get((low, high), ops.Clip(low, high))


_ACTIVATIONS: Mapping[str, Callable[[Sequence[float]], Op]] = {
    "Relu": lambda _: ops.Relu(),
    "Sigmoid": lambda _: ops.Sigmoid(),
    "Tanh": lambda _: ops.Tanh(),
    "LeakyRelu": lambda found: ops.LeakyRelu(*found),
    "HardSigmoid": lambda found: ops.HardSigmoid(*found),
    "Clip": _clip,
}


MICROSOFT: Mapping[str, Mapper] = {
    "Gelu": _gelu,
    "BiasGelu": _gelu,
    "FastGelu": _fast_gelu,
    "QuickGelu": _quick_gelu,
    "SkipLayerNormalization": _skip_layer_norm,
    "SkipSimplifiedLayerNormalization": _skip_root_mean_square_norm,
    "FusedMatMul": _fused_matmul,
    "TransposeMatMul": _fused_matmul,
    "FusedConv": _fused_conv,
}
"""Operators of the domain ``com.microsoft``."""

UNLISTED: Mapping[str, Mapper] = {"SimplifiedLayerNormalization": _root_mean_square_norm}
"""Operators that ONNX Runtime has in the domain of ONNX, which does not list them."""
