"""LSTM, GRU and plain recurrent layers in float, with the formulas of the ONNX operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from qhal.ir import ops
from qhal.quant.oracle.context import Kernel, KernelContext, Operands, operands_of
from qhal.quant.oracle.functions import sigmoid
from qhal.quant.oracle.values import Array

Cell = Callable[[Array, tuple[Array, ...]], tuple[Array, ...]]
"""Input projections of one time step (N, gates * H) and state -> next state, output first."""

_CANDIDATES: Mapping[str, Callable[[Array], Array]] = {
    "Tanh": np.tanh,
    "Relu": lambda x: np.maximum(x, 0),
}
"""Activations that the state of a GRU or of a plain recurrent layer may have."""


def build_lstm(context: KernelContext) -> Kernel:
    """Build an LSTM; see :class:`qhal.ir.ops.Lstm` for operands and results."""
    op = context.op
    assert isinstance(op, ops.Lstm)

    def run(operands: Operands) -> tuple[Array, ...]:
        y, (hidden, cell) = _directions(operands, op.direction, 4, op.hidden_size, 2, _lstm_cell)
        return (y, hidden, cell)[: len(context.node.outputs)]

    return run


def build_gru(context: KernelContext) -> Kernel:
    """Build a GRU; see :class:`qhal.ir.ops.Gru` for operands and results."""
    op = context.op
    assert isinstance(op, ops.Gru)

    def cell(recurrent: Array, bias: Array) -> Cell:
        return _gru_cell(op, recurrent, bias)

    def run(operands: Operands) -> tuple[Array, ...]:
        y, (hidden,) = _directions(operands, op.direction, 3, op.hidden_size, 1, cell)
        return (y, hidden)[: len(context.node.outputs)]

    return run


def build_rnn(context: KernelContext) -> Kernel:
    """Build a plain recurrent layer; see :class:`qhal.ir.ops.Rnn` for operands and results."""
    op = context.op
    assert isinstance(op, ops.Rnn)
    activation = _CANDIDATES[op.candidate]

    def cell(recurrent: Array, bias: Array) -> Cell:
        return lambda projected, state: (activation(projected + state[0] @ recurrent.T + bias),)

    def run(operands: Operands) -> tuple[Array, ...]:
        y, (hidden,) = _directions(operands, op.direction, 1, op.hidden_size, 1, cell)
        return (y, hidden)[: len(context.node.outputs)]

    return run


def _directions(
    operands: Operands,
    direction: str,
    gates: int,
    size: int,
    states: int,
    cell: Callable[[Array, Array], Cell],
) -> tuple[Array, tuple[Array, ...]]:
    """Run every direction.

    Returns:
        Y (T, D, N, H), and the final states (D, N, H).
    """
    given = [*operands, *[None] * (4 + states - len(operands))]
    (x, weight, recurrent), (bias, *initial) = operands_of(given[:3]), given[3:]
    count, batch = weight.shape[0], x.shape[1]
    if bias is None:
        bias = np.zeros((count, 2 * gates * size), x.dtype)
    start = [np.zeros((count, batch, size), x.dtype) if s is None else s for s in initial]
    outputs, finals = [], []
    for d in range(count):
        backwards = direction == "reverse" or d == 1
        projected = x @ weight[d].T + bias[d, : gates * size]
        inputs = projected[::-1] if backwards else projected
        state = tuple(s[d] for s in start)
        results, state = _scan(cell(recurrent[d], bias[d, gates * size :]), inputs, state)
        outputs.append(results[::-1] if backwards else results)
        finals.append(state)
    return np.stack(outputs, axis=1), tuple(np.stack(s) for s in zip(*finals, strict=True))


def _scan(cell: Cell, inputs: Array, state: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
    results = []
    for projected in inputs:
        state = cell(projected, state)
        results.append(state[0])
    return np.stack(results), state


def _lstm_cell(recurrent: Array, bias: Array) -> Cell:
    def run(projected: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        hidden, memory = state
        gates = projected + hidden @ recurrent.T + bias
        enter, leave, forget, candidate = np.split(gates, 4, axis=-1)
        memory = sigmoid(forget) * memory + sigmoid(enter) * np.tanh(candidate)
        return sigmoid(leave) * np.tanh(memory), memory

    return run


def _gru_cell(op: ops.Gru, recurrent: Array, bias: Array) -> Cell:
    for_update, for_reset, for_new = np.split(recurrent, 3)
    update_bias, reset_bias, new_bias = np.split(bias, 3)
    candidate = _CANDIDATES[op.candidate]

    def run(projected: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        (hidden,) = state
        update_in, reset_in, new_in = np.split(projected, 3, axis=-1)
        update = sigmoid(update_in + hidden @ for_update.T + update_bias)
        reset = sigmoid(reset_in + hidden @ for_reset.T + reset_bias)
        if op.linear_before_reset:
            new = candidate(new_in + reset * (hidden @ for_new.T + new_bias))
        else:
            new = candidate(new_in + (reset * hidden) @ for_new.T + new_bias)
        return ((1 - update) * new + update * hidden,)

    return run
