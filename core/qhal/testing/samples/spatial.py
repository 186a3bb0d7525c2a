"""Samples of pooling and of changes of resolution."""

from __future__ import annotations

from collections.abc import Iterator

from qhal.ir import ops
from qhal.testing.samples.sample import Sample, Shape


def pooling() -> Iterator[Sample]:
    """Yield pools with all kinds of padding."""
    windows = (
        ("valid", (7, 9), (2, 2), (2, 2), (0, 0, 0, 0)),
        ("same", (7, 9), (3, 3), (1, 1), (1, 1, 1, 1)),
        ("same-stride", (8, 8), (3, 3), (2, 2), (0, 0, 1, 1)),
        ("explicit", (8, 8), (3, 3), (2, 2), (1, 1, 1, 1)),
        ("ceil", (6, 6), (3, 3), (2, 2), (0, 0, 1, 1)),
        ("global", (7, 9), (7, 9), (1, 1), (0, 0, 0, 0)),
    )
    for label, spatial, kernel, strides, pads in windows:
        yield Sample(ops.MaxPool(kernel, strides, pads), ((1, 4, *spatial),), label=label)
        for counts in (False, True):
            op = ops.AveragePool(kernel, strides, pads, counts)
            name = f"{label}-{'all' if counts else 'inside'}"
            yield Sample(op, ((1, 4, *spatial),), label=name)


def resampling() -> Iterator[Sample]:
    """Yield every way to resize, and moves between depth and space."""
    for coordinates in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
        for sizes in ((12, 16), (3, 5), (9, 8), (1, 1)):
            yield _resize("linear", coordinates, sizes)
            yield _resize("nearest", coordinates, sizes)
    for nearest in ("ceil", "round_prefer_floor", "round_prefer_ceil"):
        for coordinates in ("half_pixel", "asymmetric", "align_corners"):
            yield _resize("nearest", coordinates, (10, 13), nearest)
    yield Sample(ops.Resize("linear", (5, 7)), ((1, 3, 1, 1),), label="point")
    for mode in ("DCR", "CRD"):
        yield Sample(ops.DepthToSpace(2, mode), ((1, 12, 3, 4),), label=mode)
    yield Sample(ops.SpaceToDepth(2), ((1, 3, 4, 6),))


def _resize(mode: str, coordinates: str, sizes: Shape, nearest: str = "floor") -> Sample:
    """Make a resize of three channels of 6 x 8."""
    op = ops.Resize(mode, sizes, coordinates, nearest)
    label = f"{mode}-{coordinates}-{nearest}-{'x'.join(map(str, sizes))}"
    return Sample(op, ((1, 3, 6, 8),), label=label)
