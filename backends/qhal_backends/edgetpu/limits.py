"""What the Edge TPU requires of a node that is to run on it.

Source, unless a rule names another: coral.ai, "TensorFlow models on the Edge TPU", table of
supported operations. Each limit's docstring is the rule; it returns None, or a sentence with the
offending value.
"""

from __future__ import annotations

from math import prod

import numpy as np

from qhal.ir import ops
from qhal.ir.graph import NodeView
from qhal.ir.ops import Role
from qhal.targets.limit import MultipleOf, OneOf, Range, limit
from qhal_backends.tflite.padding import implicit_padding
from qhal_backends.tflite.resizing import exact_mode, spatial_sizes
from qhal_backends.tflite.windows import is_non_negative, pool_axes, steps_in_plane


@limit(innermost=3, outer=1)
def three_innermost(view: NodeView, innermost: int, outer: int) -> str | None:
    """Dimensions of activations are {outer}, except the {innermost} innermost ones."""
    for name in (*_activations(view), *view.node.outputs):
        shape = view.graph.tensors[name].shape
        if any(size > outer for size in shape[:-innermost]):
            only = f"only the {innermost} innermost dimensions may exceed {outer}"
            return f"{name} has the shape {shape}: {only}"
    return None


def _activations(view: NodeView) -> list[str]:
    names = enumerate(view.node.inputs)
    return [n for i, n in names if n and view.op.role(i) is Role.ACTIVATION]


@limit()
def integers_only(view: NodeView) -> str | None:
    """Operands and results are integers or booleans."""
    for name in (*filter(None, view.node.inputs), *view.node.outputs):
        if view.graph.tensors[name].dtype.is_float:
            return f"{name} is float, but the Edge TPU's host runs only integers"
    return None


@limit(rows=1)
def one_row(view: NodeView, rows: int) -> str | None:
    """The operand of a fully connected layer has {rows} row: the table requires one dimension."""
    found = prod(view.input().shape[:-1])
    return None if found == rows else f"it has {found} rows; allowed: {rows}"


@limit()
def not_fused(view: NodeView) -> str | None:
    """No activation is fused: it would make the operator TRANSPOSE_CONV version 4, on which the
    compiler aborts (google-coral/edgetpu issue 845).
    """
    fused = view.op.fused
    return (
        None
        if fused is ops.Activation.NONE
        else f"the activation {fused.value} is fused; allowed: none"
    )


@limit()
def same_dilation(view: NodeView) -> str | None:
    """The dilation is the same in x and y."""
    dilations = getattr(view.op, "dilations", (1,))
    return (
        None if len(set(dilations)) == 1 else f"the dilations are {dilations}; they must be equal"
    )


@limit(operands=2)
def constants_are_zeros(view: NodeView, operands: int) -> str | None:
    """If an operand is constant, it is all zeros, and there are exactly {operands} operands."""
    constants = [i for i in range(len(view.node.inputs)) if view.is_constant(i)]
    if not constants:
        return None
    joined = len(view.node.inputs)
    if joined != operands:
        return f"there are {joined} operands, one of them constant; allowed: {operands}"
    largest = max(float(np.abs(view.constant(i)).max(initial=0)) for i in constants)
    return None if largest == 0 else f"a constant operand has the magnitude {largest:g}; allowed: 0"


@limit(axes=Range(least=1))
def reduces_no_batch(view: NodeView, axes: Range) -> str | None:
    """Only axes from {axes.least} on are reduced, not the batch (0)."""
    found: tuple[int, ...] = getattr(view.op, "axes", ())
    if all(axis in axes for axis in found):
        return None
    return f"the axes {found} are reduced; allowed: {axes}"


@limit(depth=MultipleOf(4))
def depth_is_multiple(view: NodeView, depth: MultipleOf) -> str | None:
    """If the innermost dimension is reduced, its size is a multiple of {depth.number}."""
    axes, shape = getattr(view.op, "axes", ()), view.input().shape
    if len(shape) - 1 not in axes or shape[-1] in depth:
        return None
    return f"a depth of {shape[-1]} is reduced; allowed: {depth}"


@limit(outer=1)
def slope_is_innermost(view: NodeView, outer: int) -> str | None:
    """All dimensions of the slope are {outer}, but for the innermost."""
    shape = view.input(1).shape
    if all(n == outer for n in shape[:-1]):
        return None
    return f"the slope has the shape {shape}; only the innermost dimension may exceed {outer}"


@limit(pads=0)
def pads_no_batch(view: NodeView, pads: int) -> str | None:
    """The padding of the batch dimension is {pads}."""
    found: tuple[int, ...] = getattr(view.op, "pads", ())
    batch = (found[0], found[len(found) // 2])
    return None if batch == (pads, pads) else f"the batch is padded by {batch}; allowed: {pads}"


@limit(mode=OneOf(("constant",)), value=0)
def pads_with_zero(view: NodeView, mode: OneOf, value: float) -> str | None:
    """The padding is the {mode} {value}: the Edge TPU lacks PADV2 and MIRROR_PAD."""
    op = view.op
    assert isinstance(op, ops.Pad)
    if op.mode in mode and op.value == value:
        return None
    return f"the padding is {op.value if op.mode in mode else op.mode}; allowed: {mode} {value}"


@limit()
def pads_without_lowest(view: NodeView) -> str | None:
    """The padding of max pooling is SAME or VALID, or the operand has no negative numbers."""
    if implicit_padding(pool_axes(view)) is not None:
        return None
    if is_non_negative(view.graph, view.node.inputs[0]):
        return None
    pads = getattr(view.op, "pads", ())
    return f"the pads {pads} are neither SAME nor VALID, and the Edge TPU lacks PADV2"


@limit()
def resizes_in_a_known_mode(view: NodeView) -> str | None:
    """The resize mode is one that TFLite has, or the input is one pixel."""
    if all(size == 1 for size, _ in spatial_sizes(view)) or exact_mode(view) is not None:
        return None
    return "TFLite has no such resize mode, so it would need GATHER, which the Edge TPU lacks"


@limit(elements=Range(most=16_000), outer=1)
def softmax_is_small(view: NodeView, elements: Range, outer: int) -> str | None:
    """Only the innermost dimension exceeds {outer}; it has at most {elements.most:,} elements."""
    shape = view.input().shape
    if any(size > outer for size in shape[:-1]):
        return f"the operand has the shape {shape}; only the innermost dimension may exceed {outer}"
    size = shape[-1]
    return None if size in elements else f"there are {size} elements; allowed: {elements}"


@limit(strides=1)
def strides_in_height_and_width(view: NodeView, strides: int) -> str | None:
    """All strides of a slice are {strides}, except positive ones in height and width (written as
    pooling).
    """
    op = view.op
    assert isinstance(op, ops.Slice)
    if set(op.steps) <= {strides} or steps_in_plane(op):
        return None
    return f"the strides are {op.steps}; only those in height and width may differ from {strides}"
