"""The spatial dimensions of a node, for the limits, which ask, and the lowering, which acts."""

from __future__ import annotations

from qhal.ir.graph import NodeView
from qhal.ir.ops import AveragePool, Conv, DepthwiseConv, MaxPool
from qhal_backends.tflite.padding import Axis, axes_of


def convolution_axes(view: NodeView) -> list[Axis]:
    """Spatial dimensions of a Conv or DepthwiseConv; a leading one of size 1 makes it a plane."""
    op = view.op
    assert isinstance(op, Conv | DepthwiseConv)
    kernel = view.input(1).shape[1:-1]
    sizes, windows = view.input().shape[1:-1], view.output().shape[1:-1]
    return _plane(axes_of(op, kernel, op.dilations, sizes, windows))


def pool_axes(view: NodeView) -> list[Axis]:
    """Spatial dimensions of a pooling; a leading one of size 1 makes it a plane."""
    op = view.op
    assert isinstance(op, MaxPool | AveragePool)
    ones = (1,) * len(op.kernel)
    sizes, windows = view.input().shape[1:-1], view.output().shape[1:-1]
    return _plane(axes_of(op, op.kernel, ones, sizes, windows))


def _plane(axes: list[Axis]) -> list[Axis]:
    return axes if len(axes) != 1 else [Axis(1, 1, 1, 1, 0), *axes]
