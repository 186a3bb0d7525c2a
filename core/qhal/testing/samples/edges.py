"""Samples at the edge of what small accelerators take: windows, strides, sizes, ranks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qhal.ir import ops
from qhal.ir.graph import Array
from qhal.testing.samples.sample import Sample, uniform


def edges() -> Iterator[Sample]:
    """Yield samples at both sides of the limits that hardware for inference often has."""
    for stride in (3, 4):
        yield _conv(stride, (0, 0, 0, 0))
        yield _conv(stride, (0, 0, 0, 0), dilation=2)
    yield _conv(4, (0, 0, 0, 0), 15)
    yield from (_depthwise(stride) for stride in (3, 4))
    for strides in ((1, 1), (3, 3), (1, 2), (2, 1)):
        yield _transposed(strides, (5, 4), (3, 3))
    yield _transposed((1, 2), (1, 6), (1, 3))
    yield _transposed((2, 1), (6, 1), (3, 1))
    yield Sample(ops.MaxPool((4, 4), (4, 4), (0,) * 4), ((1, 4, 16, 16),), label="stride4")
    yield Sample(ops.MaxPool((5, 5), (4, 4), (0, 0, 1, 1)), ((1, 4, 16, 16),), label="stride4-same")
    nine = (4, 4, 4, 4)
    for size in (7, 9):
        pads = (size // 2,) * 4
        pool = ops.AveragePool((size, size), (1, 1), pads, False)
        yield Sample(pool, ((1, 4, 16, 16),), label=f"same{size}")
    yield Sample(ops.MaxPool((9, 9), (1, 1), nine), ((1, 4, 16, 16),), label="same9")
    yield Sample(ops.MaxPool((257, 1), (1, 1), (0,) * 4), ((1, 1, 300, 2),), label="tall")
    for size in (64, 65):
        shape = (1, 2, size, 64)
        yield Sample(ops.Reduce("Mean", (2, 3)), (shape,), label=f"plane{size}")
    for size in (4095, 4096, 4097, 5000):
        yield Sample(ops.Reduce("Mean", (3,)), ((1, 1, 1, size),), label=f"row{size}")
    for depth in (127, 128):
        yield Sample(ops.ArgMax(1, False), ((1, depth),), label=f"depth{depth}")
    for scale in (2, 4, 8, 16, 3):
        sizes = (4 * scale, 4 * scale)
        for mode in ("nearest", "linear"):
            op = ops.Resize(mode, sizes, "asymmetric", "floor")
            yield Sample(op, ((1, 3, 4, 4),), label=f"{mode}-{scale}")
    for sizes in ((1, 8), (2, 8), (1, 4)):
        op = ops.Resize("linear", sizes, "asymmetric", "floor")
        yield Sample(op, ((1, 3, 1, 4),), label=f"row-{sizes}")
    yield Sample(ops.Resize("linear", (7, 7), "align_corners"), ((1, 3, 4, 4),), label="aligned")
    yield Sample(ops.Resize("linear", (8, 8), "half_pixel"), ((1, 3, 4, 4),), label="half")
    yield Sample(ops.Resize("linear", (16, 16), "half_pixel"), ((1, 3, 4, 4),), label="half4")
    yield Sample(ops.Transpose((0, 2, 1)), ((2, 300, 300),), label="rank3")
    yield Sample(ops.Transpose((1, 0, 3, 2)), ((300, 2, 300, 2),), label="large")
    for rows in (256, 257):
        yield Sample(ops.Softmax(3), ((1, 256, rows, 2),), label=f"rows{rows}")
    yield Sample(ops.FullyConnected(), ((1, 65537),), (_weights(1, 65537),), label="long")
    plane = ((1, 4, 6, 8),)
    yield Sample(ops.Slice((0, 0, 0, 0), (1, 4, 3, 4), (1, 1, 2, 2)), plane, label="plane2")
    yield Sample(ops.Slice((0, 0), (2, 4), (1, 2)), ((2, 8),), label="rank2-depth")
    yield Sample(ops.Slice((0, 0, 0), (2, 3, 8), (1, 2, 1)), ((2, 6, 8),), label="rank3-width")


def _conv(stride: int, pads: tuple[int, ...], size: int = 16, dilation: int = 1) -> Sample:
    op = ops.Conv((stride, stride), pads, (dilation, dilation))
    label = f"stride{stride}-pads{''.join(map(str, pads))}-dilation{dilation}"
    label += "" if size == 16 else f"-size{size}"
    return Sample(op, ((1, 4, size, size),), (_weights(4, 4, 3, 3),), label=label)


def _depthwise(stride: int) -> Sample:
    op = ops.DepthwiseConv((stride, stride), (0,) * 4, (1, 1))
    return Sample(op, ((1, 4, 16, 16),), (_weights(4, 1, 3, 3),), label=f"stride{stride}")


def _transposed(strides: tuple[int, int], size: tuple[int, int], kernel: tuple[int, int]) -> Sample:
    op = ops.ConvTranspose(strides, (0,) * 4, (1, 1), (0, 0))
    label = f"strides{strides}-{size}-{kernel}"
    return Sample(op, ((1, 4, *size),), (_weights(4, 4, *kernel),), label=label)


def _weights(*shape: int) -> Array:
    """Draw weights, the same for the same shape."""
    return uniform(np.random.default_rng(5), *shape)
