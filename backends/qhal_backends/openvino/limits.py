"""Rules that a node must meet to run on integers in OpenVINO."""

from __future__ import annotations

from qhal.ir import ops
from qhal.ir.graph import NodeView
from qhal.targets.limit import Limit, MultipleOf, limit


def whole_groups(size: int) -> Limit:
    """Limit the number of weights of an output of a fully-connected layer."""
    return limit(weights=MultipleOf(size))(_whole_groups)


def _whole_groups(view: NodeView, weights: MultipleOf) -> str | None:
    """The number of weights of an output is a multiple of {weights.number}, the group size."""
    depth = view.input(1).shape[1]
    if depth in weights:
        return None
    return f"an output has {depth} weights; allowed: {weights}"


@limit(groups=1)
def one_group(view: NodeView, groups: int) -> str | None:
    """The number of groups is {groups}."""
    op = view.op
    assert isinstance(op, ops.ConvTranspose)
    return None if op.groups == groups else f"it has {op.groups} groups; allowed: {groups}"


@limit(value=0)
def zero_padding(view: NodeView, value: int) -> str | None:
    """Constant padding is {value}: after another value, the next product runs in float."""
    op = view.op
    assert isinstance(op, ops.Pad)
    if op.mode != "constant" or op.value == value:
        return None
    return f"the padding is {op.value:g}; allowed: {value}"
