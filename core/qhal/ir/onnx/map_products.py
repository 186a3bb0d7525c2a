"""Convolutions, matrix products and recurrent operators."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qhal.ir import ops
from qhal.ir.graph import Array
from qhal.ir.onnx.call import ImportCall, Mapper, Unsupported, need_float
from qhal.ir.onnx.windows import explicit_pads, transposed_pads, window
from qhal.ir.ops import Ints, Op


def _conv(call: ImportCall) -> str:
    need_float(call)
    op, bias = conv_op(call), bias_of(call)
    return call.result(op, call.tensor(0), call.tensor(1), *bias)


def conv_op(call: ImportCall) -> Op:
    """Return the operator of a convolution with a constant weight."""
    weight = call.need(1, "weight")
    groups, channels = call.integer("group", 1), call.shape()[1]
    frame = window(call, weight.shape[2:])
    pads = explicit_pads(call, frame)
    outputs = weight.shape[0]
    if groups > 1 and groups == channels and weight.shape[1] == 1 and outputs % channels == 0:
        return ops.DepthwiseConv(frame.strides, pads, frame.dilations, outputs // channels)
    return ops.Conv(frame.strides, pads, frame.dilations, groups)


def bias_of(call: ImportCall) -> tuple[str, ...]:
    """Return the constant bias, operand 2, if it is there."""
    if not call.has(2):
        return ()
    call.need(2, "bias")
    return (call.tensor(2),)


def _conv_transpose(call: ImportCall) -> str:
    need_float(call)
    weight = call.need(1, "weight")
    frame = window(call, weight.shape[2:])
    pads, extra = transposed_pads(call, frame)
    op = ops.ConvTranspose(frame.strides, pads, frame.dilations, extra, call.integer("group", 1))
    return call.result(op, call.tensor(0), call.tensor(1), *bias_of(call))


# --- matrix products ------------------------------------------------------------


def _matmul(call: ImportCall) -> str:
    """Write vectors as matrices of one row or column, whose dimension is dropped behind."""
    need_float(call)
    if call.rank() == 1 or call.rank(1) == 1:
        return _vector_product(call)
    weight = call.constant(1)
    if weight is None or weight.ndim != 2 or call.rank() < 2 or call.constant(0) is not None:
        return call.result(ops.MatMul(), call.tensor(0), call.tensor(1))
    name = call.scope.share(str(call.value(1).name), weight.T)
    return call.result(ops.FullyConnected(), call.tensor(0), name)


def _vector_product(call: ImportCall) -> str:
    x, y, left, right = call.tensor(0), call.tensor(1), call.shape(), call.shape(1)
    shape = (*(left[:-1] if len(left) > 1 else right[:-2]), *(right[-1:] if len(right) > 1 else ()))
    if len(left) == 1:
        x = _moved(call, 0, (1, *left))
    weight = call.constant(1)
    if weight is not None and weight.ndim < 3 and call.constant(0) is None:
        matrix = weight.reshape(1, -1) if weight.ndim == 1 else weight.T
        name = call.scope.share(f"{call.value(1).name}/rows", matrix)
        return call.result(ops.Reshape(shape), call.inner(ops.FullyConnected(), x, name))
    if len(right) == 1:
        y = _moved(call, 1, (*right, 1))
    return call.result(ops.Reshape(shape), call.inner(ops.MatMul(), x, y))


def _moved(call: ImportCall, index: int, shape: Ints) -> str:
    """Return an operand in another shape; a constant is stored so."""
    value = call.constant(index)
    if value is None:
        return call.inner(ops.Reshape(shape), call.tensor(index))
    return call.scope.share(f"{call.value(index).name}/matrix", value.reshape(shape))


def _gemm(call: ImportCall) -> str:
    """Emit ``alpha * A' B' + beta * C``."""
    need_float(call)
    x = _transposed(call, 0, "transA")
    weight = call.constant(1)
    if weight is None:
        return _gemm_of_activations(call, x)
    weight = weight if call.flag("transB") else weight.T
    weight = _scaled(weight, call.number("alpha", 1.0))
    operands = [x, call.scope.share(str(call.value(1).name), weight)]
    if not call.has(2):
        return call.result(ops.FullyConnected(), *operands)
    bias = _gemm_bias(call, weight.shape[0])
    if bias is not None:
        operands.append(call.scope.share(str(call.value(2).name), bias))
        return call.result(ops.FullyConnected(), *operands)
    return _plus_c(call, call.inner(ops.FullyConnected(), *operands))


def _gemm_bias(call: ImportCall, outputs: int) -> Array | None:
    """Return ``beta * C`` as a vector of the outputs; None if C is another kind of operand."""
    bias = call.constant(2)
    if bias is None or bias.size not in (1, outputs):
        return None
    if bias.size == outputs and bias.ndim and bias.shape[-1] != outputs:
        return None
    flat = np.broadcast_to(bias.reshape(-1), (outputs,))
    return _scaled(flat, call.number("beta", 1.0))


def _gemm_of_activations(call: ImportCall, x: str) -> str:
    y = _transposed(call, 1, "transB")
    alpha = call.number("alpha", 1.0)
    if alpha == 1.0 and not call.has(2):
        return call.result(ops.MatMul(), x, y)
    product = call.inner(ops.MatMul(), x, y)
    if alpha == 1.0:
        return _plus_c(call, product)
    factor = call.const("alpha", np.float32(alpha))
    if not call.has(2):
        return call.result(ops.Mul(), product, factor)
    return _plus_c(call, call.inner(ops.Mul(), product, factor))


def _plus_c(call: ImportCall, product: str) -> str:
    """Emit ``product + beta * C``."""
    beta, addend = call.number("beta", 1.0), call.tensor(2)
    if beta != 1.0:
        addend = call.inner(ops.Mul(), addend, call.const("beta", np.float32(beta)))
    return call.result(ops.Add(), product, addend)


def _transposed(call: ImportCall, index: int, flag: str) -> str:
    name = call.tensor(index)
    return call.inner(ops.Transpose((1, 0)), name) if call.flag(flag) else name


def _scaled(value: Array, factor: float) -> Array:
    return value if factor == 1.0 else value.astype(np.float32) * np.float32(factor)


# --- recurrent operators --------------------------------------------------------


def _lstm(call: ImportCall) -> tuple[str, ...]:
    _check_recurrent(call, ("Sigmoid", "Tanh", "Tanh"))
    if call.has(7) and np.any(call.need(7, "peephole weights")):
        raise Unsupported("it has peepholes")
    if call.flag("input_forget"):
        raise Unsupported("it couples input and forget gates")
    op = ops.Lstm(call.shape(2)[2], call.text("direction", "forward").lower())
    return _recurrent(call, op, states=(5, 6))


def _gru(call: ImportCall) -> tuple[str, ...]:
    candidate = "Relu" if _activations(call)[1:2] == ("relu",) else "Tanh"
    _check_recurrent(call, ("Sigmoid", candidate))
    direction = call.text("direction", "forward").lower()
    before = call.flag("linear_before_reset")
    return _recurrent(call, ops.Gru(call.shape(2)[2], direction, before, candidate), states=(5,))


def _rnn(call: ImportCall) -> tuple[str, ...]:
    activation = "Relu" if _activations(call)[:1] == ("relu",) else "Tanh"
    _check_recurrent(call, (activation,))
    direction = call.text("direction", "forward").lower()
    return _recurrent(call, ops.Rnn(call.shape(2)[2], direction, activation), states=(5,))


def _activations(call: ImportCall) -> tuple[str, ...]:
    """Return the activations that the node states, in lower case."""
    found = call.attribute("activations")
    return () if found is None else tuple(name.lower() for name in found.as_strings())


def _check_recurrent(call: ImportCall, usual: tuple[str, ...]) -> None:
    """Allow only the usual activations, the whole length of every sequence, no clipping."""
    wanted = tuple(name.lower() for name in usual) * call.shape(1)[0]
    found = _activations(call) or wanted
    if found != wanted:
        raise Unsupported(f"its activations are {', '.join(found)}")
    if call.attribute("clip") is not None:
        raise Unsupported(f"it clips at {call.number('clip', 0):g}")
    for index, what in ((1, "weights"), (2, "recurrent weights"), (3, "biases")):
        if call.has(index):
            call.need(index, what)
    times = call.shape()[1 if call.flag("layout") else 0]
    if call.has(4) and np.any(call.need(4, "sequence lengths") != times):
        raise Unsupported("its sequences have different lengths")


def _recurrent(call: ImportCall, op: Op, states: tuple[int, ...]) -> tuple[str, ...]:
    """Emit time-major; put transposes around the batch-major ``layout=1`` of ONNX."""
    operands = [call.tensor(0), call.tensor(1), call.tensor(2), call.optional(3)]
    operands += [call.optional(i) for i in states]
    if call.flag("layout"):
        return _batch_major(call, op, operands)
    return call.results(op, _without_absent_end(operands), 1 + len(states))


def _without_absent_end(operands: list[str]) -> list[str]:
    while not operands[-1]:
        operands = operands[:-1]
    return operands


def _batch_major(call: ImportCall, op: Op, operands: list[str]) -> tuple[str, ...]:
    """Transpose operands 0 and 4 onwards, and all results, which have the batch first."""
    swapped = [
        call.inner(_SWAPPED, name) if name and i not in (1, 2, 3) else name
        for i, name in enumerate(operands)
    ]
    made = call.inners(op, _without_absent_end(swapped), len(operands) - 3)
    perms = ((2, 0, 1, 3), *[_SWAPPED.perm] * (len(made) - 1))
    return tuple(
        call.result(ops.Transpose(perm), name, index=i)
        for i, (name, perm) in enumerate(zip(made, perms, strict=True))
    )


_SWAPPED = ops.Transpose((1, 0, 2))


PRODUCTS: Mapping[str, Mapper] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "LSTM": _lstm,
    "GRU": _gru,
    "RNN": _rnn,
}
