"""Rules that a node must meet to run on integers in ONNX Runtime."""

from __future__ import annotations

from functools import cache

from qhal.ir import ops
from qhal.ir.graph import NodeView
from qhal.targets.limit import Above, OneOf, Range, limit

_PASSES_ON = (ops.Reshape, ops.Transpose, ops.Slice, ops.Split, ops.Pad, ops.MaxPool, ops.Resize)


@limit()
def not_chained(view: NodeView) -> str | None:
    """Operands share one scale only if none of them is the result of another Concat.

    A chain of Concat nodes, as in DenseNet, would spread one scale over a whole block.
    """
    for name in view.node.inputs:
        producer = view.graph.producers.get(name)
        while producer is not None and isinstance(producer.op, _PASSES_ON):
            producer = view.graph.producers.get(producer.inputs[0])
        if producer is not None and isinstance(producer.op, ops.Concat):
            return f"operand {name} is the result of another Concat, {producer.name}"
    return None


@limit(rank=Range(least=3), first=2)
def spatial_mean(view: NodeView, rank: Range, first: int) -> str | None:
    """The mean is taken over the spatial axes, all from {first} on, and over no others; the operand
    has {rank} dimensions.
    """
    op, found = view.op, len(view.input().shape)
    assert isinstance(op, ops.Reduce)
    if found in rank and op.axes == tuple(range(first, found)):
        return None
    return (
        f"it reduces the axes {op.axes} of {found} dimensions; allowed: all axes from {first} on, "
        f"with {rank} dimensions"
    )


@limit(mode=OneOf(("nearest",)))
def nearest(view: NodeView, mode: OneOf) -> str | None:
    """The mode is {mode}: linear resizing of integers would cut off fractions."""
    op = view.op
    assert isinstance(op, ops.Resize)
    return None if op.mode in mode else f"the mode is {op.mode}; allowed: {mode}"


@limit(alpha=Above(0), beta=Above(0))
def rising_sigmoid(view: NodeView, alpha: Above, beta: Above) -> str | None:
    """Alpha is {alpha}, and beta is {beta}."""
    op = view.op
    assert isinstance(op, ops.HardSigmoid)
    if op.alpha in alpha and op.beta in beta:
        return None
    return f"alpha is {op.alpha:g} and beta is {op.beta:g}; allowed: {alpha} and {beta}"


@limit(weights=Range(least=256))
def wide_for_bytes(view: NodeView, weights: Range) -> str | None:
    """An output has at least {weights.least} weights: with fewer, float is faster."""
    return _narrow(view, weights)


@limit(weights=Range(least=32))
def wide_for_nibbles(view: NodeView, weights: Range) -> str | None:
    """An output has at least {weights.least} weights, one whole group."""
    return _narrow(view, weights)


@limit(minor=Range(least=23))
def casts_int4(view: NodeView, minor: Range) -> str | None:
    """The installed ONNX Runtime is 1.{minor.least} or newer: older ones do not cast int4."""
    return _too_old(minor)


@limit(minor=Range(least=24))
def casts_int2(view: NodeView, minor: Range) -> str | None:
    """The installed ONNX Runtime is 1.{minor.least} or newer: older ones do not know int2."""
    return _too_old(minor)


def _too_old(minor: Range) -> str | None:
    have, found = installed(), ".".join(map(str, installed()))
    if have[0] > 1 or have[1] in minor:
        return None
    return f"the installed ONNX Runtime is {found}; allowed: 1.{minor}"


@cache
def installed() -> tuple[int, int]:
    """Return the first two numbers of the version of the installed ONNX Runtime."""
    import onnxruntime

    major, minor, *_ = onnxruntime.__version__.split(".")
    return int(major), int(minor)


def _narrow(view: NodeView, weights: Range) -> str | None:
    depth = view.input(1).shape[1]
    if depth in weights:
        return None
    return f"an output has {depth} weights; allowed: {weights}"
