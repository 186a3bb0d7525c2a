"""The axes of a weight: which one has the outputs, and the weight as one row for each of them."""

from __future__ import annotations

import numpy as np

from qhal.ir.graph import Array
from qhal.ir.ops import ConvTranspose, DepthwiseConv, Layout, Op


def output_axis(op: Op) -> int:
    """Return the axis of the output channels in the weight of an operator."""
    nchw = getattr(op, "layout", Layout.NCHW) is Layout.NCHW
    if isinstance(op, DepthwiseConv):
        return 0 if nchw else len(op.strides) + 1
    if isinstance(op, ConvTranspose):
        return 1 if nchw else 0
    return 0


def stacked_groups(op: Op) -> int:
    """Count the groups whose output channels share the output axis of the weight.

    All do, but for ConvTranspose in NCHW: its weight (I, O/groups, …) stacks groups on axis 0.
    """
    stacked = isinstance(op, ConvTranspose) and op.layout is Layout.NCHW
    return op.groups if stacked and isinstance(op, ConvTranspose) else 1


def by_output(op: Op, weight: Array) -> Array:
    """Reshape a weight to one row (K,) per output, as in NCHW."""
    if getattr(op, "layout", Layout.NCHW) is Layout.NHWC:
        # Depthwise (1, …, O) has its outputs last, others (O, …, I) their inputs.
        weight = np.moveaxis(weight, -1, 0 if isinstance(op, DepthwiseConv) else 1)
    return weight.reshape(len(weight), -1)


def as_stored(op: Op, codes: Array, shape: tuple[int, ...]) -> Array:
    """Invert :func:`_by_output`."""
    if getattr(op, "layout", Layout.NCHW) is Layout.NCHW:
        return codes.reshape(shape)
    if isinstance(op, DepthwiseConv):
        return np.moveaxis(codes.reshape(shape[-1], *shape[:-1]), 0, -1)
    return np.moveaxis(codes.reshape(shape[0], shape[-1], *shape[1:-1]), 1, -1)
