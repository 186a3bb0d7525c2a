"""Rules that a node must meet to run on integers in OpenVINO."""

from __future__ import annotations

from qhal.ir import ops
from qhal.ir.graph import NodeView
from qhal.targets.capability import Limit


def whole_groups(size: int) -> Limit:
    """A limit on the number of weights of an output of a fully-connected layer."""

    def limit(view: NodeView) -> str | None:
        depth = view.input(1).shape[1]
        if depth % size == 0:
            return None
        return f"an output has {depth} weights, which is no multiple of {size}"

    limit.__doc__ = f"The weights of an output are whole groups of {size}."
    return limit


def one_group(view: NodeView) -> str | None:
    """A transposed convolution on integers has one group."""
    op = view.op
    assert isinstance(op, ops.ConvTranspose)
    return None if op.groups == 1 else f"it has {op.groups} groups, allowed is 1"


def zero_padding(view: NodeView) -> str | None:
    """Constant padding of integers is zero; behind any other, the next product is in float."""
    op = view.op
    assert isinstance(op, ops.Pad)
    if op.mode != "constant" or op.value == 0:
        return None
    return f"the padding is {op.value:g}, allowed is 0"
