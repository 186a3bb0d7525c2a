"""Samples of windows in one, two and three dimensions with every attribute."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from qhal.ir import ops
from qhal.testing.samples.sample import Sample, Shape, uniform

_PLANES: tuple[tuple[Shape, Shape], ...] = (((9,), (3,)), ((9, 8), (3, 2)), ((5, 6, 4), (2, 3, 2)))
"""Spatial dimensions, and a kernel for each."""

_COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
_ROUNDINGS = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")


def windows(rng: np.random.Generator) -> Iterator[Sample]:
    """Yield convolutions of all kinds: strides, dilations, padding and groups together."""
    for spatial, kernel in _PLANES:
        rank = len(spatial)
        for stride, dilation, pad, groups in product((1, 2, 3), (1, 2), (0, 1), (1, 4)):
            if rank == 3 and stride == 3:
                continue
            op = ops.Conv((stride,) * rank, (pad,) * 2 * rank, (dilation,) * rank, groups)
            constants = (uniform(rng, 12, 8 // groups, *kernel), uniform(rng, 12))
            label = f"every-{rank}d-{stride}-{dilation}-{pad}-{groups}"
            yield Sample(op, ((2, 8, *spatial),), constants, label=label)
        yield from _depthwise(rng, spatial, kernel)
        yield from _transposed(rng, spatial, kernel)


def _depthwise(rng: np.random.Generator, spatial: Shape, kernel: Shape) -> Iterator[Sample]:
    rank = len(spatial)
    for stride, dilation, pad, multiplier in product((1, 2), (1, 2), (0, 1), (1, 3)):
        op = ops.DepthwiseConv((stride,) * rank, (pad,) * 2 * rank, (dilation,) * rank, multiplier)
        constants = (uniform(rng, 5 * multiplier, 1, *kernel), uniform(rng, 5 * multiplier))
        label = f"every-{rank}d-{stride}-{dilation}-{pad}-{multiplier}"
        yield Sample(op, ((1, 5, *spatial),), constants, label=label)


def _transposed(rng: np.random.Generator, spatial: Shape, kernel: Shape) -> Iterator[Sample]:
    rank = len(spatial)
    for stride, dilation, pad, more, groups in product((1, 2, 3), (1, 2), (0, 1), (0, 1), (1, 2)):
        if more >= stride or (rank == 3 and (groups, pad) != (1, 0)):
            continue
        op = ops.ConvTranspose(
            (stride,) * rank, (pad,) * 2 * rank, (dilation,) * rank, (more,) * rank, groups
        )
        constants = (uniform(rng, 4, 6 // groups, *kernel), uniform(rng, 6))
        label = f"every-{rank}d-{stride}-{dilation}-{pad}-{more}-{groups}"
        yield Sample(op, ((1, 4, *spatial),), constants, label=label)


def pools() -> Iterator[Sample]:
    """Yield poolings with padding on each side, counted and not."""
    for spatial in ((9,), (9, 8), (5, 6, 5)):
        rank = len(spatial)
        for kernel, stride, begin, end in product((1, 2, 3), (1, 2, 3), (0, 1), (0, 1, 2)):
            if begin >= kernel or end > kernel or (rank == 3 and stride == 3):
                continue
            yield from _pools((1, 4, *spatial), kernel, stride, (begin,) * rank + (end,) * rank)
    for counts in (False, True):
        op = ops.AveragePool((3, 2), (2, 1), (1, 0, 0, 1), counts)
        yield Sample(op, ((2, 3, 7, 7),), label=f"every-mixed-{counts}")


def _pools(shape: Shape, kernel: int, stride: int, pads: Shape) -> Iterator[Sample]:
    rank = len(shape) - 2
    label = f"every-{rank}d-{kernel}-{stride}-{pads[0]}-{pads[-1]}"
    window = ((kernel,) * rank, (stride,) * rank, pads)
    if max(pads) >= kernel:
        return
    yield Sample(ops.MaxPool(*window), (shape,), label=label)
    for counts in (False, True) if any(pads) else (False,):
        yield Sample(ops.AveragePool(*window, counts), (shape,), label=f"{label}-{counts}")


def resizes() -> Iterator[Sample]:
    """Yield every mode at sizes that grow, shrink, and vanish, and blocks of channels."""
    for spatial in ((6,), (6, 8), (3, 4, 5)):
        for mode, coordinates, rounding in _modes():
            for sizes in _sizes(spatial):
                op = ops.Resize(mode, sizes, coordinates, rounding)
                label = f"every-{mode}-{coordinates}-{rounding}-{spatial}-{sizes}"
                yield Sample(op, ((1, 2, *spatial),), label=label)
    for block in (2, 3):
        for order in ("DCR", "CRD"):
            shape = (2, 2 * block * block, 2, 3)
            yield Sample(ops.DepthToSpace(block, order), (shape,), label=f"every-{block}-{order}")
        shape = (2, 3, 2 * block, 3 * block)
        yield Sample(ops.SpaceToDepth(block), (shape,), label=f"every-{block}")


def _modes() -> Iterator[tuple[str, str, str]]:
    yield from (("linear", coordinates, "floor") for coordinates in _COORDINATES)
    yield from (("nearest", *found) for found in product(_COORDINATES, _ROUNDINGS))


def _sizes(spatial: Shape) -> Iterator[Shape]:
    yield tuple(2 * size for size in spatial)
    if len(spatial) < 3:
        yield tuple(3 * size for size in spatial)
        yield tuple(size - 1 for size in spatial)
        yield (1,) * len(spatial)
