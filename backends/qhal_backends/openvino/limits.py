"""Rules that a node must meet in OpenVINO: to run on integers, or to be computed as ONNX says."""

from __future__ import annotations

from qhal.ir import ops
from qhal.ir.graph import NodeView
from qhal.targets.limit import Limit, MultipleOf, Range, limit
from qhal_backends.openvino.reading import why_misread


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


@limit(either=1)
def strides_or_dilations(view: NodeView, either: int) -> str | None:
    """A transposed convolution on integers has strides of {either} or dilations of {either}: with
    both above {either}, OpenVINO 2026.4 computes wrong results.
    """
    op = view.op
    assert isinstance(op, ops.ConvTranspose)
    if either in (max(op.strides), max(op.dilations)):
        return None
    found = f"strides {op.strides} and dilations {op.dilations}"
    return f"it has {found}; allowed: {either} for one of them"


@limit(strides=Range(1, 2), dimensions=Range(1, 2))
def whole_strides(view: NodeView, strides: Range, dimensions: Range) -> str | None:
    """A transposed convolution on integers has strides of {strides} in {dimensions} dimensions, or
    its output size is a multiple of the strides: otherwise OpenVINO 2026.4 leaves part of the
    output with values of the previous run.
    """
    op = view.op
    assert isinstance(op, ops.ConvTranspose)
    if max(op.strides) in strides and len(op.strides) in dimensions:
        return None
    sizes = view.output().shape[2:]
    if all(size % stride == 0 for size, stride in zip(sizes, op.strides, strict=True)):
        return None
    return f"the output size {sizes} is not a multiple of the strides {op.strides}"


@limit()
def is_covered(view: NodeView) -> str | None:
    """The kernel of a transposed convolution on integers reaches the end of its result: a row that
    output padding puts behind it, OpenVINO 2026.4 leaves as the memory was.
    """
    op = view.op
    assert isinstance(op, ops.ConvTranspose)
    size, kernel = view.input().shape[2:], view.input(1).shape[2:]
    found = view.output().shape[2:]
    reached = tuple(
        (count - 1) * stride + dilation * (width - 1) + 1 - pad
        for count, stride, dilation, width, pad in zip(
            size, op.strides, op.dilations, kernel, op.pads[: len(size)], strict=True
        )
    )
    if all(end >= wanted for end, wanted in zip(reached, found, strict=True)):
        return None
    return f"the kernel reaches {reached} of a result of {found}"


@limit()
def slope_is_not_zero(view: NodeView) -> str | None:
    """The slope of a hard sigmoid is not 0: of that OpenVINO 2026.4 makes something else."""
    op = view.op
    assert isinstance(op, ops.HardSigmoid)
    return None if op.alpha else "OpenVINO computes another function if the slope is 0"


@limit()
def scale_is_whole(view: NodeView) -> str | None:
    """Scale and bias of a normalization have the shape of what is normalized."""
    op = view.op
    assert isinstance(op, ops.LayerNorm)
    shape = view.input().shape[op.axis :]
    found = [view.input(index).shape for index in (1, 2) if view.has(index)]
    odd = next((other for other in found if other != shape), None)
    return None if odd is None else f"OpenVINO broadcasts no scale of {odd} to {shape}"


@limit(dimensions=Range(least=2))
def has_rows(view: NodeView, dimensions: Range) -> str | None:
    """The operand of a fully connected layer has {dimensions} dimensions: of a vector OpenVINO
    2026.4 makes a row.
    """
    rank = len(view.input().shape)
    return None if rank in dimensions else f"the rank is {rank}; allowed: {dimensions}"


@limit()
def means_the_same(view: NodeView) -> str | None:
    """What qhal keeps as ONNX has it, OpenVINO reads and computes as ONNX Runtime does."""
    return why_misread(view)
