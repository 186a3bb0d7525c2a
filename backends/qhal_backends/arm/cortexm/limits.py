"""What TensorFlow Lite Micro requires of a node beyond what LiteRT does.

Each limit's docstring is the rule, with the kernel that says so; it returns None, or a sentence
with the offending value.
"""

from __future__ import annotations

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import NodeView
from qhal.targets.limit import OneOf, Range, limit


@limit()
def rounds_as_litert_does(view: NodeView) -> str | None:
    """Fully connected layers are 1x1 convolutions, which give the same integers as in LiteRT.
    FULLY_CONNECTED does not: LiteRT rescales it with a float64, TFLite Micro with an integer
    multiplier (fully_connected_common.cc).
    """
    return "TFLite Micro rounds CONV_2D as LiteRT does, but not FULLY_CONNECTED"


@limit(operands=Range(most=10))
def joins_few(view: NodeView, operands: Range) -> str | None:
    """A concatenation has at most {operands.most} operands (kMaxInputNum, concatenation.cc)."""
    count = len(view.node.inputs)
    return None if count in operands else f"{count} operands are joined; allowed: {operands}"


@limit(elements=Range(1, 511))
def softmax_is_narrow(view: NodeView, elements: Range) -> str | None:
    """A softmax has at most {elements.most} elements: if they are all equal, more of them overflow
    the kernel's sum (softmax.h).
    """
    count = view.input().shape[-1]
    if count in elements:
        return None
    return f"the softmax has {count} elements; allowed: {elements}"


@limit(dimensions=Range(most=4))
def strides_in_four_dimensions(view: NodeView, dimensions: Range) -> str | None:
    """A slice whose strides are not all 1 has at most {dimensions.most} dimensions
    (strided_slice_common.cc).
    """
    op = view.op
    assert isinstance(op, ops.Slice)
    rank = len(op.steps)
    if set(op.steps) <= {1} or rank in dimensions:
        return None
    return (
        f"its strides are not all 1 and it has {rank} dimensions; with such strides allowed: "
        f"{dimensions}"
    )


@limit(type=OneOf((DType.INT32.value,)))
def indices_are_short(view: NodeView, type: OneOf) -> str | None:
    """Indices are of type {type}, as which constant ones are always stored (gather.cc)."""
    found = view.input(1).dtype.value
    if view.is_constant(1) or found in type:
        return None
    return f"the indices {view.node.inputs[1]} are {found}; allowed: {type}"


@limit(type=OneOf((DType.INT32.value,)))
def result_is_short(view: NodeView, type: OneOf) -> str | None:
    """The result is of type {type} (arg_min_max.cc)."""
    found = view.output().dtype.value
    return None if found in type else f"the result is {found}; allowed: {type}"


@limit()
def pads_with_a_constant(view: NodeView) -> str | None:
    """The padding is constant: other modes need GATHER, which has no int16 kernel (gather.cc)."""
    op = view.op
    assert isinstance(op, ops.Pad)
    return None if op.mode == "constant" else f"the padding mode is {op.mode}; allowed: constant"


@limit(dimensions=Range(most=4))
def multiplies_in_four_dimensions(view: NodeView, dimensions: Range) -> str | None:
    """Factors have at most {dimensions.most} dimensions: CMSIS-NN's kernel refuses to load more
    (cmsis_nn/batch_matmul.cc), which the reference kernel takes.
    """
    rank = max(len(view.graph.tensors[name].shape) for name in view.node.inputs)
    return None if rank in dimensions else f"a factor has {rank} dimensions; allowed: {dimensions}"


@limit(dimensions=Range(most=4))
def pads_four_dimensions(view: NodeView, dimensions: Range) -> str | None:
    """At most {dimensions.most} dimensions are padded: CMSIS-NN's kernel reads only the last
    (cmsis_nn/pad.cc).
    """
    rank = len(view.input().shape)
    return None if rank in dimensions else f"it has {rank} dimensions; allowed: {dimensions}"


@limit(multiple=2)
def nibbles_come_in_pairs(view: NodeView, multiple: int) -> str | None:
    """A depthwise convolution with int4 weights has a multiple of {multiple} of input channels:
    CMSIS-NN's kernel (arm_depthwise_conv_s4.c) takes weights of other channels otherwise, if it is
    dilated, or has several images or several outputs for a channel.
    """
    channels = view.input().shape[-1]
    if channels % multiple == 0:
        return None
    return f"it has {channels} input channels; with int4 weights allowed: multiples of {multiple}"
