"""The spatial dimensions of a node, for both the limits and the lowering."""

from __future__ import annotations

from qhal.ir.graph import Graph, NodeView
from qhal.ir.ops import AveragePool, Conv, DepthwiseConv, Layout, MaxPool, Slice
from qhal.ir.simplify import is_nonnegative
from qhal_backends.tflite.padding import Axis, axes_of


def convolution_axes(view: NodeView) -> list[Axis]:
    """Make the spatial dimensions of a Conv or DepthwiseConv."""
    op = view.op
    assert isinstance(op, Conv | DepthwiseConv)
    kernel = view.input(1).shape[1:-1]
    sizes, windows = view.input().shape[1:-1], view.output().shape[1:-1]
    return axes_of(op, kernel, op.dilations, sizes, windows)


def pool_axes(view: NodeView) -> list[Axis]:
    """Make the spatial dimensions of a pooling."""
    op = view.op
    assert isinstance(op, MaxPool | AveragePool)
    ones = (1,) * len(op.kernel)
    sizes, windows = (
        kind.shape[2:] if op.layout is Layout.NCHW else kind.shape[1:-1]
        for kind in (view.input(), view.output())
    )
    return axes_of(op, op.kernel, ones, sizes, windows)


def is_non_negative(graph: Graph, name: str) -> bool:
    """Return True if the node that makes a tensor makes nothing below zero."""
    producer = graph.producers.get(name)
    return producer is not None and is_nonnegative(NodeView(graph, producer))


def steps_in_plane(op: Slice) -> bool:
    """Return True if a slice of (N, H, W, C) has steps in height and width only, all forward."""
    return len(op.steps) == 4 and op.steps[0] == op.steps[3] == 1 and min(op.steps) > 0
