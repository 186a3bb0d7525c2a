"""Samples of operators with weights, and of products of activations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from qhal.ir import ops
from qhal.ir.ops import Activation
from qhal.testing.samples.sample import Sample, Shape, uniform


def convolutions(rng: np.random.Generator) -> Iterator[Sample]:
    """Yield plain, depthwise and transposed convolutions: strides, pads, dilations, groups."""
    yield from (
        _conv(rng, "valid", (7, 9), (3, 3)),
        _conv(rng, "same", (7, 9), (3, 3), pads=(1, 1, 1, 1), activation=Activation.RELU),
        _conv(
            rng,
            "same-stride",
            (8, 8),
            (3, 3),
            strides=(2, 2),
            pads=(0, 0, 1, 1),
            activation=Activation.RELU6,
        ),
        _conv(rng, "explicit", (8, 8), (3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
        _conv(rng, "asymmetric", (8, 8), (3, 2), pads=(2, 0, 1, 3)),
        _conv(rng, "loose-end", (8, 8), (1, 1), strides=(2, 2), pads=(0, 0, 0, 0)),
        _conv(rng, "dilated", (9, 9), (3, 3), dilations=(2, 2), pads=(2, 2, 2, 2)),
        _conv(rng, "grouped", (6, 6), (3, 3), groups=2),
        replace(_conv(rng, "no-bias", (5, 5), (1, 1)), constants=(uniform(rng, 6, 8, 1, 1),)),
        _depthwise(rng, "same", (7, 9), (3, 3), pads=(1, 1, 1, 1), activation=Activation.RELU6),
        _depthwise(rng, "explicit", (8, 8), (3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
        _depthwise(rng, "multiplier", (6, 6), (3, 3), multiplier=3),
        _depthwise(rng, "dilated", (9, 9), (3, 3), dilations=(2, 2)),
        _transposed(rng, "valid", (5, 4), (2, 2)),
        _transposed(rng, "same", (5, 4), (4, 4), pads=(1, 1, 1, 1)),
        _transposed(rng, "crop", (5, 4), (3, 3), pads=(1, 1, 1, 1), output_padding=(1, 1)),
        _transposed(rng, "end-crop", (5, 4), (3, 3), pads=(0, 0, 1, 1)),
        _transposed(rng, "overlap", (5, 4), (3, 3), activation=Activation.RELU),
        replace(_transposed(rng, "no-bias", (3, 3), (2, 2)), constants=(uniform(rng, 4, 6, 2, 2),)),
    )


def products(rng: np.random.Generator) -> Iterator[Sample]:
    """Yield fully-connected layers and matrix products of several ranks."""
    yield from (
        Sample(ops.FullyConnected(), ((2, 16),), (uniform(rng, 10, 16), uniform(rng, 10))),
        Sample(
            ops.FullyConnected(Activation.RELU),
            ((2, 16),),
            (uniform(rng, 10, 16),),
            label="no-bias",
        ),
        Sample(
            ops.FullyConnected(),
            ((2, 3, 16),),
            (uniform(rng, 10, 16), uniform(rng, 10)),
            label="rank3",
        ),
        Sample(
            ops.FullyConnected(), ((16,),), (uniform(rng, 10, 16), uniform(rng, 10)), label="rank1"
        ),
        Sample(ops.MatMul(), ((3, 4), (4, 5))),
        Sample(ops.MatMul(), ((2, 3, 4), (2, 4, 5)), label="batch"),
        Sample(ops.MatMul(), ((2, 3, 3, 4), (3, 4, 5)), label="broadcast"),
        Sample(ops.MatMul(), ((2, 1, 2, 3, 4), (2, 2, 1, 4, 5)), label="rank5"),
    )


def _conv(
    rng: np.random.Generator, label: str, spatial: Shape, kernel: Shape, **attributes: Any
) -> Sample:
    """Make a convolution of 8 channels to 6, with a bias."""
    channels, outputs, groups = 8, 6, attributes.get("groups", 1)
    rank = len(spatial)
    given: dict[str, Any] = {
        "strides": (1,) * rank,
        "pads": (0,) * 2 * rank,
        "dilations": (1,) * rank,
        **attributes,
    }
    op = ops.Conv(**given)
    weight = uniform(rng, outputs, channels // groups, *kernel)
    return Sample(op, ((1, channels, *spatial),), (weight, uniform(rng, outputs)), label=label)


def _depthwise(
    rng: np.random.Generator, label: str, spatial: Shape, kernel: Shape, **attributes: Any
) -> Sample:
    """Make a depthwise convolution of 5 channels, with a bias."""
    channels, rank = 5, len(spatial)
    given: dict[str, Any] = {
        "strides": (1,) * rank,
        "pads": (0,) * 2 * rank,
        "dilations": (1,) * rank,
        **attributes,
    }
    op = ops.DepthwiseConv(**given)
    outputs = channels * op.multiplier
    weight = uniform(rng, outputs, 1, *kernel)
    return Sample(op, ((1, channels, *spatial),), (weight, uniform(rng, outputs)), label=label)


def _transposed(
    rng: np.random.Generator, label: str, spatial: Shape, kernel: Shape, **attributes: Any
) -> Sample:
    """Make a transposed convolution of 4 channels to 6, with stride 2 and a bias."""
    rank = len(spatial)
    given: dict[str, Any] = {
        "strides": (2,) * rank,
        "pads": (0,) * 2 * rank,
        "dilations": (1,) * rank,
        "output_padding": (0,) * rank,
        **attributes,
    }
    op = ops.ConvTranspose(**given)
    return Sample(
        op, ((1, 4, *spatial),), (uniform(rng, 4, 6, *kernel), uniform(rng, 6)), label=label
    )
