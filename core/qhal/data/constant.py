"""Inputs that never change over a data set: nothing is known of what depends on them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qhal.data.dataset import Dataset
from qhal.data.rollout import Rollout
from qhal.decisions import Code, Decision, Severity
from qhal.ir.graph import Array, Arrays


def constant_inputs(dataset: Dataset) -> tuple[Decision, ...]:
    """Warn of inputs that are the same in all samples; a single sample cannot tell.

    Samples are read until every input has changed once, which is mostly at the second. States
    that are fed back are left out.
    """
    if len(dataset) < 2:
        return ()
    samples = _samples(dataset)
    same = dict(next(samples))
    for sample in samples:
        same = {name: first for name, first in same.items() if _equal(first, sample[name])}
        if not same:
            return ()
    return tuple(_warning(name, value, len(dataset)) for name, value in same.items())


def _samples(dataset: Dataset) -> Iterator[Arrays]:
    read = dataset.data_of if isinstance(dataset, Rollout) else dataset.sample
    return (read(index) for index in range(len(dataset)))


def _equal(one: Array, other: Array) -> bool:
    return bool(np.array_equal(one, other))


def _warning(name: str, value: Array, samples: int) -> Decision:
    numbers = np.unique(value)
    what = f"is {numbers[0]}" if numbers.size == 1 else "is the same"
    sentence = (
        f"Input {name} {what} in all {samples} calibration samples: whatever depends on it was "
        "calibrated for this value alone. Give data in which it changes as it does in use."
    )
    return Decision(Code.INPUT_CONSTANT, sentence, name, Severity.WARNING)
