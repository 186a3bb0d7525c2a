"""What TensorFlow Lite Micro demands of a node beyond what LiteRT does.

Each limit's docstring is the rule, with the kernel that says so; it returns None, or a sentence
with the offending value.
"""

from __future__ import annotations

from qhal.ir import ops
from qhal.ir.graph import NodeView

LARGEST_STEPPED_RANK = 4
WIDEST_SOFTMAX = 511
MOST_JOINED = 10


def rounds_as_litert_does(view: NodeView) -> str | None:
    """Fully connected layers are 1x1 convolutions, which give the same integers as in LiteRT:
    FULLY_CONNECTED is rescaled with a float64 there, and with an integer multiplier here
    (fully_connected_common.cc).
    """  # noqa: D205 - the rule, which pages print as it is
    return "TFLite Micro rounds FULLY_CONNECTED differently from LiteRT, and CONV_2D the same"


def joins_few(view: NodeView) -> str | None:
    """A concatenation has at most 10 operands (kMaxInputNum, concatenation.cc)."""
    count = len(view.node.inputs)
    return None if count <= MOST_JOINED else f"{count} operands are joined, allowed up to 10"


def softmax_is_narrow(view: NodeView) -> str | None:
    """A softmax has at most 511 elements: 512 equal ones overflow the kernel's sum (softmax.h)."""
    count = view.input().shape[-1]
    if count <= WIDEST_SOFTMAX:
        return None
    return f"the softmax has {count} elements, allowed 1 to {WIDEST_SOFTMAX}"


def steps_in_four_dimensions(view: NodeView) -> str | None:
    """With steps a slice has at most 4 dimensions (strided_slice_common.cc)."""
    op = view.op
    assert isinstance(op, ops.Slice)
    rank = len(op.steps)
    if set(op.steps) <= {1} or rank <= LARGEST_STEPPED_RANK:
        return None
    return f"the steps are {op.steps}, allowed in up to {LARGEST_STEPPED_RANK} dimensions"


def indices_are_constant(view: NodeView) -> str | None:
    """Indices are constants, stored as int32: gather.cc takes no int64."""
    return None if view.is_constant(1) else f"the indices {view.node.inputs[1]} are computed"


def pads_with_a_constant(view: NodeView) -> str | None:
    """The padding is constant: other kinds are picked by gather.cc, which has no int16."""
    op = view.op
    assert isinstance(op, ops.Pad)
    return None if op.mode == "constant" else f"the padding is {op.mode}, allowed constant"
