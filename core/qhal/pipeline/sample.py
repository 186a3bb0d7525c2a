"""One sample to run an artifact on: the user's, or a made-up one where there are no data."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qhal.artifact.ports import Port
from qhal.data import Source, load_dataset
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, TensorType
from qhal.quant.choice import Verdict
from qhal.results.plan import Plan

_SEED = 0
_USUAL_RANGE = (-1.0, 1.0)
"""Of a float input that the plan says nothing about, because nothing quantizes it."""


@dataclass(frozen=True, eq=False)
class InputSample:
    """Inputs of a model.

    Attributes:
        inputs: in the shapes and types of the user's model.
        origin: where they come from, in words.
    """

    inputs: Mapping[str, Array]
    origin: str


def first_sample(
    source: Source,
    ports: Sequence[Port],
    preprocess: str | Path | None,
    states: Collection[str] = (),
) -> InputSample:
    """Read the first sample of the user's data.

    Args:
        source: as in :func:`qhal.data.load_dataset`.
        ports: the inputs.
        preprocess: as in :func:`qhal.data.load_dataset`.
        states: inputs that hold states; they are zeros if the data have none.

    Raises:
        QhalError: the data cannot be read, or do not fit the inputs.
    """
    inputs = {port.name: TensorType(port.shape, DType(port.dtype)) for port in ports}
    dataset = load_dataset(source, inputs, preprocess=preprocess, states=states)
    zeros = {name: np.zeros(inputs[name].shape, inputs[name].dtype.numpy) for name in states}
    return InputSample({**zeros, **dataset.sample(0)}, dataset.where(0))


def random_sample(ports: Sequence[Port], plan: Plan) -> InputSample:
    """Make random numbers in the planned range of every input, the same at every call.

    A float input without a planned range gets numbers of a usual range. Integer inputs, which
    count or switch something, get zero, the one value that is always allowed.

    Args:
        ports: the inputs.
        plan: of the same record.
    """
    generator = np.random.default_rng(_SEED)
    inputs, words = {}, []
    for port in ports:
        dtype = DType(port.dtype)
        if dtype.is_float:
            low, high = _planned_range(port.name, plan)
            array = generator.uniform(low, high, port.shape)
            words.append(f"{port.name} random from {low:g} to {high:g}")
        else:
            array = np.zeros(port.shape)
            words.append(f"{port.name} zero")
        inputs[port.name] = array.astype(dtype.numpy)
    return InputSample(inputs, ", ".join(words))


def _planned_range(name: str, plan: Plan) -> tuple[float, float]:
    """Return the range of an input, or of the integers that a float input is converted to."""
    behind = {name}
    for node in plan.nodes:
        if node.verdict is Verdict.CONVERSION and name in node.inputs:
            behind.update(node.outputs)
    ranges = [t.range for t in plan.tensors if t.name in behind and t.range]
    return (min(ranges[0]), max(ranges[0])) if ranges else _USUAL_RANGE
