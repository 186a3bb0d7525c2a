"""What TFLite's kernels require of a node beyond its types.

Each limit's docstring is the rule; it returns None, or a sentence with the offending value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import NodeView
from qhal.ir.ops import Role
from qhal.targets.limit import Limit, OneOf, Range, limit
from qhal_backends.tflite.broadcasting import BROADCAST_RANK, compact
from qhal_backends.tflite.flat import FlatPadding
from qhal_backends.tflite.padding import implicit_padding
from qhal_backends.tflite.resizing import exact_mode
from qhal_backends.tflite.windows import pool_axes

# --- types and ranks ------------------------------------------------------------


def element_types(allowed: Iterable[DType]) -> Limit:
    """Limit the element types of the operands that are not indices."""
    return limit(types=OneOf(tuple(kind.value for kind in allowed)))(_element_types)


def _element_types(view: NodeView, types: OneOf) -> str | None:
    """Operands are of type {types}."""
    for index, name in enumerate(view.node.inputs):
        is_data = view.op.role(index) is not Role.INDEX
        if name and is_data and view.input(index).dtype.value not in types:
            return f"{name} is {view.input(index).dtype.value}; allowed: {types}"
    return None


def rank_at_most(largest: int) -> Limit:
    """Limit the rank of operands and results."""
    return limit(rank=Range(most=largest))(_rank_at_most)


def _rank_at_most(view: NodeView, rank: Range) -> str | None:
    """Tensors have at most {rank.most} dimensions."""
    names = (*filter(None, view.node.inputs), *view.node.outputs)
    found = max(len(view.graph.tensors[name].shape) for name in names)
    return None if found in rank else f"the rank is {found}; allowed: {rank}"


JOINED_IN_FLOAT = ("Concat", "Reshape", "Transpose")
"""Operators of which an otherwise integer file may have float ones, at its end."""


@limit()
def joins_outputs(view: NodeView) -> str | None:
    """It joins floats, or moves what was joined, and its result only becomes outputs."""
    graph, node = view.graph, view.node
    if not view.output().dtype.is_float:
        return f"its result is {view.output().dtype.value}"
    while node.op.kind != "Concat":
        before = graph.producers.get(node.inputs[0])
        if before is None or before.op.kind not in JOINED_IN_FLOAT:
            return "there is no join in front of it"
        node = before
    made = [*view.node.outputs]
    for name in made:
        for reader in graph.consumers[name]:
            if reader.op.kind not in JOINED_IN_FLOAT:
                return f"{reader.op.kind} {reader.name} reads its result, which is not an output"
            made.extend(reader.outputs)
    return None


@limit(rank=Range(most=BROADCAST_RANK))
def broadcasts_in_four(view: NodeView, rank: Range) -> str | None:
    """Operands broadcast in at most {rank.most} dimensions, after merging where possible."""
    shapes = [view.graph.tensors[name].shape for name in view.node.inputs if name]
    merged = len(compact([*shapes, view.output().shape])[0])
    if merged in rank:
        return None
    return f"operands of the shapes {shapes} broadcast in {merged} dimensions; allowed: {rank}"


def rank_between(least: int, largest: int) -> Limit:
    """Limit the rank of every operand."""
    return limit(rank=Range(least, largest))(_rank_between)


def _rank_between(view: NodeView, rank: Range) -> str | None:
    """Operands have {rank} dimensions."""
    for name in filter(None, view.node.inputs):
        found = len(view.graph.tensors[name].shape)
        if found not in rank:
            return f"the rank of {name} is {found}; allowed: {rank}"
    return None


@limit(dimensions=2)
def plane(view: NodeView, dimensions: int) -> str | None:
    """The operator has two spatial dimensions."""
    count = len(view.input().shape) - 2
    if count == dimensions:
        return None
    return f"it has {count} spatial dimensions; allowed: {dimensions}"


# --- windows --------------------------------------------------------------------


@limit(padding=Range(least=0))
def pads_not_negative(view: NodeView, padding: Range) -> str | None:
    """Padding is not negative."""
    pads: tuple[int, ...] = getattr(view.op, "pads", ())
    return None if min(pads, default=0) in padding else f"the pads are {pads}; allowed: {padding}"


@limit(groups=1)
def no_groups(view: NodeView, groups: int) -> str | None:
    """The number of groups is {groups}."""
    found = getattr(view.op, "groups", 1)
    return None if found == groups else f"there are {found} groups; allowed: {groups}"


@limit(dilation=1)
def no_dilation(view: NodeView, dilation: int) -> str | None:
    """All dilations are {dilation}."""
    dilations = getattr(view.op, "dilations", ())
    if set(dilations) <= {dilation}:
        return None
    return f"the dilations are {dilations}; allowed: {dilation}"


@limit()
def padding_counts_or_is_same(view: NodeView) -> str | None:
    """Padding is counted in the mean, or equals the padding of SAME."""
    op = view.op
    assert isinstance(op, ops.AveragePool)
    if op.count_include_pad or implicit_padding(pool_axes(view)) is not None:
        return None
    return f"the pads {op.pads} are not counted in the mean and are not {FlatPadding.SAME.name}"


@limit()
def windows_inside(view: NodeView) -> str | None:
    """Every window overlaps the input."""
    for axis in pool_axes(view):
        if axis.overhang >= axis.kernel or axis.begin >= axis.kernel:
            return f"a window of size {axis.kernel} lies entirely in the padding"
    return None


# --- weights in few bits ----------------------------------------------------------


@limit(multiple=2)
def depth_is_even(view: NodeView, multiple: int) -> str | None:
    """The number of inputs of a layer is a multiple of {multiple}: XNNPACK leaves int4 weights of
    other rows to slow builtin kernels.
    """
    depth = view.input(1).shape[-1]
    if depth % multiple == 0:
        return None
    return f"each output has {depth} int4 weights; allowed: multiples of {multiple}"


# --- resizing -------------------------------------------------------------------


@limit()
def resize_is_exact(view: NodeView) -> str | None:
    """Linear resizing is half_pixel, align_corners or asymmetric, or equals one of them."""
    op = view.op
    assert isinstance(op, ops.Resize)
    if op.mode == "nearest" or exact_mode(view) is not None:
        return None
    sizes = f"{view.input().shape[1:-1]} to {view.output().shape[1:-1]}"
    return f"TFLite has no {op.mode} resizing that equals {op.coordinates} from {sizes}"


# --- attributes -----------------------------------------------------------------


@limit()
def axis_is_last(view: NodeView) -> str | None:
    """The axis is the last one."""
    axis, rank = getattr(view.op, "axis", 0), len(view.input().shape)
    return None if axis == rank - 1 else f"the axis is {axis}; allowed: {rank - 1}, the last one"


@limit(mode=OneOf(("DCR",)))
def blocks_come_first(view: NodeView, mode: OneOf) -> str | None:
    """Channels are in the order {mode}: position in the block, then channel."""
    found = getattr(view.op, "mode", "DCR")
    return None if found in mode else f"the order of channels is {found}; allowed: {mode}"


@limit(alpha=1)
def elu_alpha_is_one(view: NodeView, alpha: int) -> str | None:
    """Alpha is {alpha}."""
    found = getattr(view.op, "alpha", 1.0)
    return None if found == alpha else f"alpha is {found:g}; allowed: {alpha}"


@limit(truncates=False)
def follows_divisor(view: NodeView, truncates: bool) -> str | None:
    """The remainder has the sign of the divisor."""
    if getattr(view.op, "truncates", False) == truncates:
        return None
    return "the remainder has the sign of the dividend; allowed: that of the divisor"


@limit()
def reflects_inside(view: NodeView) -> str | None:
    """Reflected padding is smaller than the dimension it reflects."""
    op = view.op
    assert isinstance(op, ops.Pad)
    shape = view.input().shape
    widest = [max(pair) for pair in zip(op.pads[: len(shape)], op.pads[len(shape) :], strict=True)]
    for axis, (size, pad) in enumerate(zip(shape, widest, strict=True)):
        if op.mode == "reflect" and pad >= size:
            return f"axis {axis} of size {size} is padded by {pad}; allowed: up to {size - 1}"
    return None


@limit(magnitude=Range(most=1e6))
def fill_is_moderate(view: NodeView, magnitude: Range) -> str | None:
    """The magnitude of the padding value is at most {magnitude.most:g}, to fit integer ranges."""
    op = view.op
    assert isinstance(op, ops.Pad)
    if op.mode != "constant" or (math.isfinite(op.value) and abs(op.value) in magnitude):
        return None
    return f"the padding value is {op.value:g}; allowed: magnitudes {magnitude}"


def casts_between(allowed: Iterable[DType]) -> Limit:
    """Limit the types of the operand and the result of a Cast."""
    return limit(types=OneOf(tuple(kind.value for kind in allowed)))(_casts_between)


def _casts_between(view: NodeView, types: OneOf) -> str | None:
    """Operand and result are of type {types}."""
    source, result = view.input().dtype.value, view.output().dtype.value
    if source in types and result in types:
        return None
    return f"it casts {source} to {result}; allowed: {types}"


@limit(types=OneOf((DType.UINT8.value,)))
def casts_bytes_to_float(view: NodeView, types: OneOf) -> str | None:
    """The cast makes floats of {types}, which are integers with a scale of 1 already."""
    found, made = view.input().dtype.value, view.output().dtype
    if found in types and made.is_float:
        return None
    return f"it casts {found} to {made.value}; allowed: {types} to float"
