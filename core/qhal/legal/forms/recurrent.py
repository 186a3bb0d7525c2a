"""LSTM, GRU and plain recurrent layers written out for the number of time steps that they have.

One time step of the shape (N, H) is a few fully-connected layers and element-wise operators; a step
whose state is still zero does without the recurrent part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from qhal.ir import ops
from qhal.ir.graph import Array
from qhal.legal.forms.draft import Draft
from qhal.legal.forms.functions import Results


@dataclass(frozen=True)
class _Cell:
    """The weights of one direction.

    Attributes:
        label: prefix of the names.
        hidden: size H of the state.
        input_weight: (gates*H, I).
        state_weight: (gates*H, H).
        input_bias: (gates*H).
        state_bias: (gates*H).
    """

    label: str
    hidden: int
    input_weight: Array
    state_weight: Array
    input_bias: Array
    state_bias: Array


_State = tuple[str, ...]
"""Names of (h,) or (h, c), each (N, H); "" stands for zeros."""
_Advance = Callable[[str, str, _State], _State]
"""(name prefix, x of one time (N, I), state before) -> state after."""


def unrolled_lstm(d: Draft) -> Results:
    """Unroll an LSTM with constant weights over time; gates i o f c as in ONNX."""
    return _unrolled(d, _advance_lstm, states=2)


def unrolled_gru(d: Draft) -> Results:
    """Unroll a GRU with constant weights over time; gates z r h as in ONNX."""
    return _unrolled(d, _advance_gru, states=1)


def unrolled_rnn(d: Draft) -> Results:
    """Unroll a plain recurrent layer with constant weights over time."""
    return _unrolled(d, _advance_rnn, states=1)


def _unrolled(d: Draft, prepare: Callable[[Draft, _Cell], _Advance], states: int) -> Results:
    cells = _cells(d)
    if cells is None:
        return None
    xs = _times(d)
    sequences: list[list[str]] = []
    finals: list[_State] = []
    for index, cell in enumerate(cells):
        reverse = _is_reverse(d, index)
        start = tuple(_initial(d, 4 + i, index) for i in range(states))
        made = _run(cell.label, xs[::-1] if reverse else xs, start, prepare(d, cell))
        finals.append(made[-1])
        outputs = [state[0] for state in made]
        sequences.append(outputs[::-1] if reverse else outputs)
    pairs = zip(cells, sequences, strict=True)
    whole = _stacked(d, "y", [_sequence(d, cell.label, states) for cell, states in pairs], 1)
    last = [_stacked_states(d, f"last{i}", [f[i] for f in finals]) for i in range(states)]
    return (whole, *last)[: len(d.node.outputs)]


def _run(label: str, xs: list[str], state: _State, advance: _Advance) -> list[_State]:
    made = []
    for time, x in enumerate(xs):
        state = advance(f"{label}t{time}", x, state)
        made.append(state)
    return made


# --- operands -----------------------------------------------------------------


def _is_reverse(d: Draft, index: int) -> bool:
    op: Any = d.node.op
    return bool(op.direction == "reverse" or index == 1)


def _cells(d: Draft) -> list[_Cell] | None:
    """Return the weights of each direction; None if they are not constant."""
    op: Any = d.node.op
    weight, state_weight = d.constant_input(1), d.constant_input(2)
    if weight is None or state_weight is None or (d.input(3) and d.constant_input(3) is None):
        return None
    directions, rows, _ = weight.shape
    bias = d.constant_input(3)
    biases = np.zeros((directions, 2 * rows), np.float32) if bias is None else bias
    labels = [""] if directions == 1 else ["forward/", "backward/"]
    return [
        _Cell(labels[i], op.hidden_size, weight[i], state_weight[i], *np.split(biases[i], 2))
        for i in range(directions)
    ]


def _times(d: Draft) -> list[str]:
    """Split the operand (T, N, I) into T tensors (N, I)."""
    x = d.input(0)
    times, batch, features = d.shape(x)
    flat = d("x", ops.Reshape((times * batch, features)), x)
    if times == 1:
        return [flat]
    return list(d.many("times", ops.Split(0, (batch,) * times), flat))


def _initial(d: Draft, index: int, direction: int) -> str:
    """Return the initial state (N, H) of a direction; "" for zeros."""
    name, value = d.input(index), d.constant_input(index)
    if not name or (value is not None and not value.any()):
        return ""
    if value is not None:
        return d.constant(f"initial{index}", value[direction], d.type(name).dtype)
    directions, batch, hidden = d.shape(name)
    if directions > 1:
        cut = ops.Slice((direction, 0, 0), (1, batch, hidden), (1, 1, 1))
        name = d(f"initial{index}", cut, name)
    return d(f"initial{index}", ops.Reshape((batch, hidden)), name)


# --- results ------------------------------------------------------------------


def _sequence(d: Draft, label: str, states: list[str]) -> str:
    """Join T states (N, H) to (T, 1, N, H)."""
    batch, hidden = d.shape(states[0])
    joined = d(f"{label}joined", ops.Concat(0), *states) if len(states) > 1 else states[0]
    return d(f"{label}sequence", ops.Reshape((len(states), 1, batch, hidden)), joined)


def _stacked(d: Draft, hint: str, parts: list[str], axis: int) -> str:
    return d(hint, ops.Concat(axis), *parts) if len(parts) > 1 else parts[0]


def _stacked_states(d: Draft, hint: str, states: list[str]) -> str:
    """Join the last states (N, H) of the directions to (D, N, H)."""
    shaped = [d(hint, ops.Reshape((1, *d.shape(state))), state) for state in states]
    return _stacked(d, hint, shaped, 0)


# --- one time step ------------------------------------------------------------


@dataclass(frozen=True)
class _Layer:
    """A fully-connected layer whose constants all time steps share."""

    draft: Draft
    weight: str
    bias: str

    def __call__(self, hint: str, x: str) -> str:
        operands = (x, self.weight, self.bias) if self.bias else (x, self.weight)
        return self.draft(hint, ops.FullyConnected(), *operands)


def _layer(d: Draft, hint: str, weight: Array, bias: Array | None = None) -> _Layer:
    made = d.constant(f"{hint}_weight", weight)
    return _Layer(d, made, "" if bias is None else d.constant(f"{hint}_bias", bias))


def _parts(d: Draft, hint: str, x: str, *sizes: int) -> tuple[str, ...]:
    return d.many(hint, ops.Split(1, sizes), x)


def _advance_lstm(d: Draft, cell: _Cell) -> _Advance:
    """Compute ``c' = f c + i g``, ``h' = o tanh(c')`` with the gates i, o, f and candidate g."""
    size = cell.hidden
    of_input = _layer(
        d, f"{cell.label}w", cell.input_weight, np.add(cell.input_bias, cell.state_bias)
    )
    of_state = _layer(d, f"{cell.label}r", cell.state_weight)

    def advance(at: str, x: str, state: _State) -> _State:
        hidden, memory = state
        gates = of_input(f"{at}/w", x)
        if hidden:
            gates = d(f"{at}/sum", ops.Add(), gates, of_state(f"{at}/r", hidden))
        squashed, candidate = _parts(d, f"{at}/parts", gates, 3 * size, size)
        sigmoid = d(f"{at}/sigmoid", ops.Sigmoid(), squashed)
        write, read, keep = _parts(d, f"{at}/gates", sigmoid, size, size, size)
        new = d(f"{at}/new", ops.Mul(), write, d(f"{at}/g", ops.Tanh(), candidate))
        if memory:
            new = d(f"{at}/c", ops.Add(), d(f"{at}/kept", ops.Mul(), keep, memory), new)
        return d(f"{at}/h", ops.Mul(), read, d(f"{at}/tanh", ops.Tanh(), new)), new

    return advance


def _advance_gru(d: Draft, cell: _Cell) -> _Advance:
    """Compute ``h' = n + z (h - n)`` with the gates z, r and the candidate n."""
    op: Any = d.node.op
    candidate = _candidate_after_reset if op.linear_before_reset else _candidate_of_reset
    gates, propose = candidate(d, cell)
    activation = ops.Relu() if op.candidate == "Relu" else ops.Tanh()

    def advance(at: str, x: str, state: _State) -> _State:
        (hidden,) = state
        sums, rest = gates(at, x, hidden)
        update, reset = _parts(d, f"{at}/gates", d(f"{at}/sigmoid", ops.Sigmoid(), sums), *halves)
        new = d(f"{at}/n", activation, propose(at, rest, reset, hidden))
        if not hidden:
            return (d(f"{at}/h", ops.Sub(), new, d(f"{at}/part", ops.Mul(), update, new)),)
        change = d(f"{at}/change", ops.Sub(), hidden, new)
        return (d(f"{at}/h", ops.Add(), new, d(f"{at}/part", ops.Mul(), update, change)),)

    halves = (cell.hidden, cell.hidden)
    return advance


def _advance_rnn(d: Draft, cell: _Cell) -> _Advance:
    """Compute ``h' = activation(W x + R h + b)``."""
    op: Any = d.node.op
    activation = ops.Relu() if op.candidate == "Relu" else ops.Tanh()
    merged = np.add(cell.input_bias, cell.state_bias)
    of_input = _layer(d, f"{cell.label}w", cell.input_weight, merged)
    of_state = _layer(d, f"{cell.label}r", cell.state_weight)

    def advance(at: str, x: str, state: _State) -> _State:
        (hidden,) = state
        total = of_input(f"{at}/w", x)
        if hidden:
            total = d(f"{at}/sum", ops.Add(), total, of_state(f"{at}/r", hidden))
        return (d(f"{at}/h", activation, total),)

    return advance


_Gates = Callable[[str, str, str], tuple[str, tuple[str, ...]]]
"""(name prefix, x, h) -> sums of the gates z and r (N, 2H), and what the candidate needs."""
_Propose = Callable[[str, tuple[str, ...], str, str], str]
"""(name prefix, what the gates left, r, h) -> the candidate before its activation (N, H)."""


def _candidate_after_reset(d: Draft, cell: _Cell) -> tuple[_Gates, _Propose]:
    """Compute ``W x + b + r (R h + b')``, ONNX ``linear_before_reset=1`` (PyTorch, cuDNN)."""
    size = cell.hidden
    split = np.arange(3 * size) < 2 * size
    merged = np.add(cell.input_bias, np.where(split, cell.state_bias, 0))
    of_input = _layer(d, f"{cell.label}w", cell.input_weight, merged)
    inner = np.where(split, 0, cell.state_bias)
    of_state = _layer(d, f"{cell.label}r", cell.state_weight, inner)
    still = d.constant(f"{cell.label}still", cell.state_bias[None, 2 * size :])

    def gates(at: str, x: str, hidden: str) -> tuple[str, tuple[str, ...]]:
        sums, outer = _parts(d, f"{at}/wparts", of_input(f"{at}/w", x), 2 * size, size)
        if not hidden:
            return sums, (outer, still)
        more, inside = _parts(d, f"{at}/rparts", of_state(f"{at}/r", hidden), 2 * size, size)
        return d(f"{at}/sum", ops.Add(), sums, more), (outer, inside)

    def propose(at: str, rest: tuple[str, ...], reset: str, hidden: str) -> str:
        outer, inside = rest
        return d(f"{at}/pre", ops.Add(), outer, d(f"{at}/reset", ops.Mul(), reset, inside))

    return gates, propose


def _candidate_of_reset(d: Draft, cell: _Cell) -> tuple[_Gates, _Propose]:
    """Compute ``W x + R (r h) + b``, ONNX ``linear_before_reset=0`` (Keras v1, the paper)."""
    size = cell.hidden
    of_input = _layer(
        d, f"{cell.label}w", cell.input_weight, np.add(cell.input_bias, cell.state_bias)
    )
    of_gates = _layer(d, f"{cell.label}rgates", cell.state_weight[: 2 * size])
    of_reset = _layer(d, f"{cell.label}rreset", cell.state_weight[2 * size :])

    def gates(at: str, x: str, hidden: str) -> tuple[str, tuple[str, ...]]:
        sums, outer = _parts(d, f"{at}/wparts", of_input(f"{at}/w", x), 2 * size, size)
        if hidden:
            sums = d(f"{at}/sum", ops.Add(), sums, of_gates(f"{at}/rgates", hidden))
        return sums, (outer,)

    def propose(at: str, rest: tuple[str, ...], reset: str, hidden: str) -> str:
        (outer,) = rest
        if not hidden:
            return outer
        kept = of_reset(f"{at}/rreset", d(f"{at}/reset", ops.Mul(), reset, hidden))
        return d(f"{at}/pre", ops.Add(), outer, kept)

    return gates, propose
