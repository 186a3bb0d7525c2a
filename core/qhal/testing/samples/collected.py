"""Every sample, in one order: the weights of one are drawn behind those of the one before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qhal.testing.samples.attributes import attributes
from qhal.testing.samples.edges import edges
from qhal.testing.samples.elementwise import binary, unary
from qhal.testing.samples.movement import movement
from qhal.testing.samples.products import convolutions, products
from qhal.testing.samples.reductions import reductions
from qhal.testing.samples.sample import Sample
from qhal.testing.samples.spatial import pooling, resampling


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Yield the samples of every operator, with weights drawn one after the other."""
    yield from convolutions(rng)
    yield from products(rng)
    yield from binary(rng)
    yield from unary(rng)
    yield from reductions(rng)
    yield from pooling()
    yield from resampling()
    yield from movement(rng)


SAMPLES: tuple[Sample, ...] = tuple(_samples(np.random.default_rng(7)))
"""Samples of every operator that has kernels."""

EDGES: tuple[Sample, ...] = tuple(edges())
"""Samples at the edge of what small accelerators take."""

ATTRIBUTES: tuple[Sample, ...] = tuple(attributes())
"""Samples of every value of every attribute, with ranks and operands at their bounds."""
