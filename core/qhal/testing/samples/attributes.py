"""Samples of every value of every attribute, with ranks and operands at their bounds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qhal.testing.samples.every_element import elements
from qhal.testing.samples.every_movement import moves
from qhal.testing.samples.every_product import layers, recurrent
from qhal.testing.samples.every_window import pools, resizes, windows
from qhal.testing.samples.sample import Sample


def attributes() -> Iterator[Sample]:
    """Yield the samples of every operator, with weights drawn one after the other."""
    rng = np.random.default_rng(11)
    yield from windows(rng)
    yield from layers(rng)
    yield from recurrent(rng)
    yield from elements(rng)
    yield from pools()
    yield from resizes()
    yield from moves()
