"""Samples of layers, products and recurrent operators with every attribute."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from qhal.ir import ops
from qhal.ir.ops import Activation
from qhal.testing.samples.sample import Sample, Shape, uniform

_DIRECTIONS = ("forward", "reverse", "bidirectional")
_HIDDEN, _FEATURES, _BATCH = 5, 3, 2


def layers(rng: np.random.Generator) -> Iterator[Sample]:
    """Yield fully-connected layers and products of operands of each rank."""
    for activation in Activation:
        constants = (uniform(rng, 5, 16), uniform(rng, 5))
        label = f"every-{activation.value}"
        yield Sample(ops.FullyConnected(activation), ((3, 16),), constants, label=label)
    for shape in ((16,), (1, 16), (2, 3, 16), (2, 1, 2, 16)):
        weight = (uniform(rng, 5, 16),)
        label = f"every-{len(shape)}-no-bias"
        yield Sample(ops.FullyConnected(), (shape,), weight, label=label)
    yield Sample(ops.FullyConnected(), ((2, 16),), (uniform(rng, 1, 16),), label="every-single")
    pairs: tuple[tuple[Shape, Shape], ...] = (
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((2, 3, 4), (4, 5)),
        ((3, 4), (2, 4, 5)),
        ((2, 3, 4), (4,)),
        ((1, 2, 3, 4), (2, 1, 4, 5)),
    )
    for left, right in pairs:
        label = f"every-{left}-{right}"
        yield Sample(ops.MatMul(), (left, right), label=label)
        yield Sample(ops.MatMul(), (left,), (uniform(rng, *right),), label=f"{label}-constant")
        yield Sample(
            ops.MatMul(), (right,), first=(uniform(rng, *left),), label=f"constant-{label}"
        )


def recurrent(rng: np.random.Generator) -> Iterator[Sample]:
    """Yield recurrent layers in each direction, with and without bias and states."""
    for direction in _DIRECTIONS:
        yield from _sequences(rng, ops.Lstm(_HIDDEN, direction), direction)
        for before, candidate in product((False, True), ("Tanh", "Relu")):
            op = ops.Gru(_HIDDEN, direction, before, candidate)
            yield from _sequences(rng, op, f"{direction}-{before}-{candidate}")

        for candidate in ("Tanh", "Relu"):
            plain = ops.Rnn(_HIDDEN, direction, candidate)
            yield from _sequences(rng, plain, f"{direction}-{candidate}")


_GATES: dict[type[ops.Op], int] = {ops.Lstm: 4, ops.Gru: 3, ops.Rnn: 1}


def _sequences(
    rng: np.random.Generator, op: ops.Lstm | ops.Gru | ops.Rnn, label: str
) -> Iterator[Sample]:
    directions, states = 2 if op.direction == "bidirectional" else 1, _states(op)
    rows = _GATES[type(op)] * _HIDDEN
    weights = (
        uniform(rng, directions, rows, _FEATURES),
        uniform(rng, directions, rows, _HIDDEN),
    )
    bias, state = uniform(rng, directions, 2 * rows), (directions, _BATCH, _HIDDEN)
    x = ((4, _BATCH, _FEATURES),)
    yield Sample(op, x, weights, label=f"{label}-no-bias")
    yield Sample(op, x, (*weights, bias), label=f"{label}-bias")
    yield Sample(op, ((1, _BATCH, _FEATURES),), (*weights, bias), label=f"{label}-step")
    yield Sample(op, x, (*weights, bias), label=f"{label}-state", last=(state,) * states)
    yield Sample(op, x, (*weights, None), label=f"{label}-state-alone", last=(state,) * states)
    if states > 1:
        yield Sample(op, x, (*weights, bias, None), label=f"{label}-cell", last=(state,))
        yield Sample(op, x, (*weights, bias), label=f"{label}-hidden", last=(state,))


def _states(op: ops.Lstm | ops.Gru | ops.Rnn) -> int:
    return 2 if isinstance(op, ops.Lstm) else 1
