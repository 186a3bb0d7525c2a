"""States in the data that the model did not make: what looks like a state may be none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from qhal.data.dataset import Dataset
from qhal.data.frames import FrameSource
from qhal.data.rollout import FloatModel
from qhal.ir.graph import Array, Arrays

_TRIED = 8
"""Samples that are compared with the ones behind them."""

_TOLERANCE = 1e-2
"""Of the largest magnitude: a recorded state may be that of another runtime."""


def contradicted(
    dataset: Dataset, pairs: Mapping[str, str], float_model: FloatModel
) -> tuple[str, ...]:
    """Find the outputs that do not feed the inputs that they seem to feed.

    The data give such an input, it changes over the samples, and nowhere is it what the model
    made of the sample before. Where samples are whole sequences, the data give first states.

    Args:
        dataset: with every array that the data have.
        pairs: output -> the input that it seems to feed.
        float_model: the float model.
    """
    given = {o: i for o, i in pairs.items() if i in dataset.fits}
    if not given or isinstance(dataset.source, FrameSource):
        return ()
    samples = list(_neighbors(dataset))
    changing = {
        output: [(one, two) for one, two in samples if not np.array_equal(one[name], two[name])]
        for output, name in given.items()
    }
    return tuple(
        output
        for output, pairs_of in changing.items()
        if pairs_of
        and not any(_feeds(dataset, output, given[output], *p, float_model) for p in pairs_of)
    )


def _neighbors(dataset: Dataset) -> Iterator[tuple[Arrays, Arrays]]:
    """Read samples from all over the data, each with the next one."""
    last = len(dataset) - 1
    for index in np.unique(np.linspace(0, last - 1, min(_TRIED, last)).astype(int)) if last else ():
        yield dataset.sample(int(index)), dataset.sample(int(index) + 1)


def _feeds(
    dataset: Dataset, output: str, name: str, one: Arrays, two: Arrays, float_model: FloatModel
) -> bool:
    zeros = {
        n: np.zeros(kind.shape, kind.dtype.numpy)
        for n, kind in dataset.inputs.items()
        if n not in one
    }
    return _near(float_model({**zeros, **one})[output], two[name])


def _near(made: Array, given: Array) -> bool:
    largest = float(np.abs(given.astype(np.float64)).max(initial=0))
    return bool(np.allclose(made, given, rtol=_TOLERANCE, atol=_TOLERANCE * largest))
