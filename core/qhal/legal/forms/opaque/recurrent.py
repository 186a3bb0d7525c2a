"""LSTM, GRU and RNN in every setting of ONNX, unrolled over time.

The usual settings are operators of qhal; these are the others: activations, clipping, peepholes,
and sequences of constant lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array
from qhal.ir.ops import Op
from qhal.legal.forms.draft import Draft
from qhal.legal.forms.functions import Results
from qhal.legal.forms.opaque.node import Attributes, reshaped, sliced

_State = tuple[str, ...]
"""Names of (h,) or (h, c), each (N, H)."""
_Function = Callable[[str, str], str]
"""(hint, x) -> the activation of x."""

_SIMPLE: dict[str, Op] = {
    "sigmoid": ops.Sigmoid(),
    "tanh": ops.Tanh(),
    "relu": ops.Relu(),
    "softplus": ops.Unary("Softplus"),
}
_USUAL = {
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
    "GRU": ("Sigmoid", "Tanh"),
    "RNN": ("Tanh",),
}
_ALPHA = {"leakyrelu": 0.01, "hardsigmoid": 0.2, "elu": 1.0, "thresholdedrelu": 1.0}
_BETA = {"hardsigmoid": 0.5}
"""What ``activation_alpha`` and ``activation_beta`` are if absent; the others have none."""


@dataclass(frozen=True)
class _Layer:
    """One direction, with its constants.

    Attributes:
        draft: what the nodes are added to.
        label: prefix of the names.
        hidden: size H of the state.
        input_weight: (gates*H, I).
        state_weight: (gates*H, H).
        input_bias: (gates*H).
        state_bias: (gates*H).
        peepholes: (3*H), of i, o and f.
        functions: activations f, g and h, as many as the operator has.
        clip: what the operands of activations are bounded to.
    """

    draft: Draft
    label: str
    hidden: int
    input_weight: Array
    state_weight: Array
    input_bias: Array
    state_bias: Array
    peepholes: Array | None
    functions: tuple[_Function, ...]
    clip: float

    def gate(self, at: str, x: str, h: str, index: int) -> str:
        """Compute ``W x + R h + b`` of one gate."""
        rows = slice(index * self.hidden, (index + 1) * self.hidden)
        bias = np.add(self.input_bias, self.state_bias)[rows]
        of_input = self.product(at, "w", x, self.input_weight[rows], bias)
        return self.sum(at, of_input, self.product(at, "r", h, self.state_weight[rows]))

    def product(self, at: str, hint: str, x: str, weight: Array, bias: Array | None = None) -> str:
        """Multiply by a constant matrix; what is constant at the start is computed here."""
        d, value = self.draft, self.draft.value(x)
        if value is not None:
            made = np.matmul(value, weight.T)
            return d.constant(f"{at}/{hint}", made if bias is None else np.add(made, bias))
        operands = [d.constant(f"{self.label}{hint}_weight", weight)]
        if bias is not None:
            operands.append(d.constant(f"{self.label}{hint}_bias", bias))
        return d(f"{at}/{hint}", ops.FullyConnected(), x, *operands)

    def sum(self, at: str, a: str, b: str) -> str:
        """Add two tensors, of which zeros change nothing."""
        for zeros, other in ((a, b), (b, a)):
            if self.is_zero(zeros):
                return other
        return self.draft(f"{at}/sum", ops.Add(), a, b)

    def times(self, at: str, a: str, b: str) -> str:
        """Multiply two tensors; zeros stay zeros."""
        for zeros in (a, b):
            if self.is_zero(zeros):
                return zeros
        left, right = self.draft.value(a), self.draft.value(b)
        if left is not None and right is not None:
            return self.draft.constant(f"{at}/product", np.multiply(left, right))
        return self.draft(f"{at}/product", ops.Mul(), a, b)

    def is_zero(self, name: str) -> bool:
        """Return True for a constant of zeros."""
        value = self.draft.value(name)
        return value is not None and not value.any()

    def rest(self, at: str, a: str) -> str:
        """Compute ``1 - a``."""
        return self.draft(f"{at}/rest", ops.Sub(), self.draft.constant("one", 1.0), a)

    def activate(self, at: str, x: str, index: int) -> str:
        """Clip, and apply an activation."""
        if self.clip != inf:
            x = self.draft(f"{at}/clip", ops.Clip(-self.clip, self.clip), x)
        return self.functions[index](at, x)

    def peeped(self, at: str, sums: str, memory: str, index: int) -> str:
        """Add what a gate sees of the memory: index 0 is the gate i, 1 is o, 2 is f."""
        if self.peepholes is None:
            return sums
        weight = self.peepholes[index * self.hidden : (index + 1) * self.hidden]
        name = self.draft.constant(f"{self.label}peephole", weight)
        return self.sum(at, sums, self.times(at, memory, name))


_Step = Callable[[_Layer, str, str, _State], _State]
"""(layer, name prefix, x of one time (N, I), state before) -> state after."""


# --- one time step ------------------------------------------------------------


def _lstm_step(layer: _Layer, at: str, x: str, state: _State) -> _State:
    hidden, memory = state
    sums = [layer.gate(at, x, hidden, i) for i in range(4)]
    write = layer.activate(at, layer.peeped(at, sums[0], memory, 0), 0)
    if Attributes(layer.draft).integer("input_forget"):
        keep = layer.rest(at, write)
    else:
        keep = layer.activate(at, layer.peeped(at, sums[2], memory, 2), 0)
    made = layer.times(at, write, layer.activate(at, sums[3], 1))
    new = layer.sum(at, layer.times(at, keep, memory), made)
    read = layer.activate(at, layer.peeped(at, sums[1], new, 1), 0)
    return layer.times(at, read, layer.functions[2](at, new)), new


def _gru_step(layer: _Layer, at: str, x: str, state: _State) -> _State:
    (hidden,) = state
    update, reset = (layer.activate(at, layer.gate(at, x, hidden, i), 0) for i in range(2))
    propose = _after_reset if Attributes(layer.draft).integer("linear_before_reset") else _of_reset
    new = layer.activate(at, propose(layer, at, x, hidden, reset), 1)
    kept = layer.times(at, update, hidden)
    return (layer.sum(at, layer.times(at, layer.rest(at, update), new), kept),)


def _of_reset(layer: _Layer, at: str, x: str, hidden: str, reset: str) -> str:
    return layer.gate(at, x, layer.times(at, reset, hidden), 2)


def _after_reset(layer: _Layer, at: str, x: str, hidden: str, reset: str) -> str:
    rows = slice(2 * layer.hidden, None)
    inner = layer.product(at, "r", hidden, layer.state_weight[rows], layer.state_bias[rows])
    outer = layer.product(at, "w", x, layer.input_weight[rows], layer.input_bias[rows])
    return layer.sum(at, outer, layer.times(at, reset, inner))


def _rnn_step(layer: _Layer, at: str, x: str, state: _State) -> _State:
    return (layer.activate(at, layer.gate(at, x, state[0], 0), 0),)


_STEPS: dict[str, _Step] = {"LSTM": _lstm_step, "GRU": _gru_step, "RNN": _rnn_step}


# --- operands -----------------------------------------------------------------


def _layers(d: Draft) -> list[_Layer] | None:
    """Return the directions; None if their weights are not constant."""
    kind, attributes = d.node.op.kind, Attributes(d)
    found = [d.constant_input(i) for i in (1, 2, 3, 7)]
    given = [d.input(i) for i in (1, 2, 3, 7)]
    if any(name and value is None for name, value in zip(given, found, strict=True)):
        return None
    weight, state_weight, bias, peepholes = found
    assert weight is not None
    assert state_weight is not None
    directions, rows, _ = weight.shape
    biases = np.zeros((directions, 2 * rows), np.float32) if bias is None else bias
    functions = _functions(d, directions * len(_USUAL[kind]))
    if functions is None:
        return None
    each = len(_USUAL[kind])
    return [
        _Layer(
            draft=d,
            label=("forward/", "backward/")[i] if directions > 1 else "",
            hidden=state_weight.shape[2],
            input_weight=weight[i],
            state_weight=state_weight[i],
            input_bias=biases[i, :rows],
            state_bias=biases[i, rows:],
            peepholes=None if peepholes is None else peepholes[i],
            functions=functions[i * each : (i + 1) * each],
            clip=attributes.number("clip", inf),
        )
        for i in range(directions)
    ]


def _functions(d: Draft, count: int) -> tuple[_Function, ...] | None:
    """Return all activations; those that take alpha or beta read the next one that is stated."""
    attributes, usual = Attributes(d), _USUAL[d.node.op.kind]
    names = attributes.texts("activations") or usual * (count // len(usual))
    alphas = iter(attributes.numbers("activation_alpha"))
    betas = iter(attributes.numbers("activation_beta"))
    found = [_function(d, name.lower(), alphas, betas) for name in names]
    made = tuple(function for function in found if function is not None)
    return made if len(made) == count else None


def _function(
    d: Draft, name: str, alphas: Iterator[float], betas: Iterator[float]
) -> _Function | None:
    alpha = next(alphas, _ALPHA[name]) if name in _ALPHA else 0.0
    beta = next(betas, _BETA[name]) if name in _BETA else 0.0
    if name == "softsign":
        return lambda at, x: _softsign(d, at, x)
    parametric: dict[str, Op] = {
        "leakyrelu": ops.LeakyRelu(alpha),
        "hardsigmoid": ops.HardSigmoid(alpha, beta),
        "elu": ops.Elu(alpha),
    }
    op = _SIMPLE.get(name) or parametric.get(name)
    return None if op is None else lambda at, x: d(f"{at}/activated", op, x)


def _softsign(d: Draft, at: str, x: str) -> str:
    size = d(f"{at}/size", ops.Unary("Abs"), x)
    grown = d(f"{at}/grown", ops.Add(), size, d.constant("one", 1.0))
    return d(f"{at}/activated", ops.Div(), x, grown)


def _times(d: Draft) -> list[str]:
    """Split the operand into one tensor (N, I) for each time."""
    x, time = d.input(0), Attributes(d).integer("layout")
    shape = d.shape(x)
    batch, features = shape[1 - time], shape[2]
    steps = [sliced(d, "time", x, time, i, 1) for i in range(shape[time])]
    return [reshaped(d, "x", step, (batch, features)) for step in steps]


def _initial(d: Draft, index: int, direction: int, hidden: int) -> str:
    """Return the initial state (N, H) of a direction."""
    name, layout = d.input(index), Attributes(d).integer("layout")
    batch = d.shape(d.input(0))[1 - layout]
    if not name:
        return d.constant("zeros", np.zeros((batch, hidden)))
    value = d.constant_input(index)
    if value is not None:
        return d.constant("initial", value.take(direction, layout))
    return reshaped(d, "initial", sliced(d, "of", name, layout, direction, 1), (batch, hidden))


# --- the whole ------------------------------------------------------------------


def unrolled(d: Draft) -> Results:
    """Unroll a recurrent operator with constant weights and lengths over time."""
    layers, lengths = _layers(d), d.constant_input(4)
    if layers is None or (d.input(4) and lengths is None):
        return None
    count = 2 if d.node.op.kind == "LSTM" else 1
    xs, layout = _times(d), Attributes(d).integer("layout")
    runs = [_run(layer, xs, i, count, lengths) for i, layer in enumerate(layers)]
    sequences = [_joined(d, outputs, layout) for outputs, _ in runs]
    whole = _directions(d, sequences, 1 + layout)
    last = [_directions(d, [final[i] for _, final in runs], layout) for i in range(count)]
    return (whole, *last)[: len(d.node.outputs)]


def _run(
    layer: _Layer, xs: Sequence[str], index: int, count: int, lengths: Array | None
) -> tuple[list[str], _State]:
    """Return the outputs in order of time, and the last state.

    A sequence that has ended, or in reverse has not begun, keeps its state, and its output is 0.
    In ONNX Runtime the last state of a sequence of length 0 is 0, whatever its initial state is.
    """
    d = layer.draft
    reverse = index == 1 or Attributes(d).text("direction", "forward").lower() == "reverse"
    state = tuple(_initial(d, 5 + i, index, layer.hidden) for i in range(count))
    if lengths is not None and not lengths.all():
        state = tuple(_masked(d, "initial", np.greater(lengths, 0), name) for name in state)
    outputs = [""] * len(xs)
    for time in range(len(xs))[:: -1 if reverse else 1]:
        new = _STEPS[d.node.op.kind](layer, f"{layer.label}t{time}", xs[time], state)
        runs = None if lengths is None else np.greater(lengths, time).reshape(-1, 1)
        if runs is None or runs.all():
            state, outputs[time] = new, new[0]
            continue
        mask = d.constant("runs", runs, DType.BOOL)
        outputs[time] = _masked(d, "output", runs, new[0])
        pairs = zip(new, state, strict=True)
        state = tuple(d("state", ops.Where(), mask, made, old) for made, old in pairs)
    return outputs, state


def _masked(d: Draft, hint: str, kept: Array, x: str) -> str:
    """Replace the rows of sequences that are not ``kept`` by zeros."""
    mask, value = kept.reshape(-1, 1), d.value(x)
    if value is not None:
        return d.constant(hint, np.where(mask, value, 0))
    zeros = d.constant("zeros", np.zeros(d.shape(x)))
    return d(hint, ops.Where(), d.constant("runs", mask, DType.BOOL), x, zeros)


def _joined(d: Draft, outputs: Sequence[str], layout: int) -> str:
    """Join T outputs (N, H) to (T, N, H), or (N, T, H) where the batch comes first."""
    batch, hidden = d.shape(outputs[0])
    shape = (batch, 1, hidden) if layout else (1, batch, hidden)
    parts = [d("step", ops.Reshape(shape), output) for output in outputs]
    return d("sequence", ops.Concat(layout), *parts) if len(parts) > 1 else parts[0]


def _directions(d: Draft, parts: Sequence[str], axis: int) -> str:
    """Join directions along an axis of their own."""
    shape = list(d.shape(parts[0]))
    shape.insert(axis, 1)
    opened = [d("direction", ops.Reshape(tuple(shape)), part) for part in parts]
    return d("directions", ops.Concat(axis), *opened) if len(opened) > 1 else opened[0]
