"""Cases of LSTM, GRU and RNN with every attribute and operand."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from tests.operators.cases.case import Case, Operand, Shape, floats

_HIDDEN, _FEATURES, _BATCH, _STEPS = 4, 3, 2, 5
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_RESULTS = {"LSTM": ("y", "h", "c"), "GRU": ("y", "h"), "RNN": ("y", "h")}
_PLAIN = {
    "LSTM": ["Sigmoid", "Tanh", "Tanh"],
    "GRU": ["Sigmoid", "Tanh"],
    "RNN": ["Tanh"],
}
_DIRECTIONS = ("forward", "reverse", "bidirectional")


def recurrent() -> Iterator[Case]:
    """Yield the cases."""
    for kind, direction in product(_GATES, _DIRECTIONS):
        for bias, state in product((False, True), repeat=2):
            yield _case(kind, direction, bias, state)
        yield _case(kind, direction, True, True, {"layout": 1}, since=14)
        yield _case(kind, direction, True, False, {"clip": 0.2})
        yield _case(kind, direction, True, False, lengths=[3, 5])
        yield _case(kind, direction, True, False, results=1)
    for direction, before in product(_DIRECTIONS, (0, 1)):
        yield _case("GRU", direction, True, True, {"linear_before_reset": before})
        yield _case("GRU", direction, False, False, {"linear_before_reset": before})
        yield _case("LSTM", direction, True, before == 1, peepholes=True)
    yield _case("LSTM", "forward", True, False, {"input_forget": 1})
    for kind, name in product(_GATES, ("Relu", "Sigmoid", "Softsign", "HardSigmoid", "Softplus")):
        last = [*_PLAIN[kind][:-1], name]
        yield _case(kind, "forward", True, False, {"activations": last})
        first = [name, *_PLAIN[kind][1:]]
        if (kind, name) == ("GRU", "Softplus"):
            continue  # an update gate above 1 makes the state grow without bound
        yield _case(kind, "forward", True, False, {"activations": first}, label="first")
    for kind in _GATES:
        both = [*_PLAIN[kind], *_PLAIN[kind][:-1], "Relu"]
        yield _case(kind, "bidirectional", True, False, {"activations": both})
        leaky = [*_PLAIN[kind][:-1], "LeakyRelu"]
        yield _case(kind, "forward", True, False, {"activations": leaky, "activation_alpha": [0.2]})
        steep = [*_PLAIN[kind][:-1], "HardSigmoid"]
        bent = {"activations": steep, "activation_alpha": [0.3], "activation_beta": [0.4]}
        yield _case(kind, "forward", True, False, bent)


def _case(
    kind: str,
    direction: str,
    bias: bool,
    state: bool,
    attributes: dict[str, Any] | None = None,
    *,
    since: int = 7,
    peepholes: bool = False,
    lengths: list[int] | None = None,
    results: int = 3,
    label: str = "",
) -> Case:
    gates, directions = _GATES[kind], 2 if direction == "bidirectional" else 1
    given = {"hidden_size": _HIDDEN, "direction": direction, **(attributes or {})}
    swapped = bool(given.get("layout"))
    x: Shape = (_BATCH, _STEPS, _FEATURES) if swapped else (_STEPS, _BATCH, _FEATURES)
    first: Shape = (_BATCH, directions, _HIDDEN) if swapped else (directions, _BATCH, _HIDDEN)
    operands: list[Operand] = [
        x,
        floats(directions, gates * _HIDDEN, _FEATURES),
        floats(directions, gates * _HIDDEN, _HIDDEN),
        floats(directions, 2 * gates * _HIDDEN) if bias else None,
        None if lengths is None else np.array(lengths, np.int32),
        first if state else None,
    ]
    if kind == "LSTM":
        operands.append(first if state else None)
        operands.append(floats(directions, 3 * _HIDDEN) if peepholes else None)
    while operands[-1] is None:
        operands.pop()
    return Case(kind, tuple(operands), given, since, results=_RESULTS[kind][:results], label=label)
