"""What TFLite's kernels demand of a node beyond its types.

Each limit's docstring is the rule; it returns None, or a sentence with the offending value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import NodeView
from qhal.ir.ops import Role
from qhal.targets.capability import Limit
from qhal_backends.tflite.broadcasting import BROADCAST_RANK, compact
from qhal_backends.tflite.flat import FlatPadding
from qhal_backends.tflite.padding import implicit_padding
from qhal_backends.tflite.resizing import exact_mode
from qhal_backends.tflite.windows import pool_axes

LARGEST_FILL = 1e6
"""Largest magnitude of a padding value that may widen an integer tensor's range."""


def _documented(limit: Limit, text: str) -> Limit:
    limit.__doc__ = text
    return limit


# --- types and ranks ------------------------------------------------------------


def element_types(allowed: Iterable[DType]) -> Limit:
    """A limit on the element types of the operands that are not indices."""
    kinds = tuple(allowed)
    names = ", ".join(kind.value for kind in kinds)

    def limit(view: NodeView) -> str | None:
        for index, name in enumerate(view.node.inputs):
            is_data = view.op.role(index) is not Role.INDEX
            if name and is_data and view.input(index).dtype not in kinds:
                return f"{name} is {view.input(index).dtype.value}, allowed: {names}"
        return None

    return _documented(limit, f"Operands are of type {names}.")


def rank_at_most(largest: int) -> Limit:
    """A limit on the rank of operands and results."""

    def limit(view: NodeView) -> str | None:
        names = (*filter(None, view.node.inputs), *view.node.outputs)
        rank = max(len(view.graph.tensors[name].shape) for name in names)
        return None if rank <= largest else f"the rank is {rank}, allowed up to {largest}"

    return _documented(limit, f"Tensors have at most {largest} dimensions.")


def broadcasts_in_four(view: NodeView) -> str | None:
    """Operands broadcast in at most 4 dimensions, merged where possible."""
    shapes = [view.graph.tensors[name].shape for name in view.node.inputs if name]
    merged = len(compact([*shapes, view.output().shape])[0])
    if merged <= BROADCAST_RANK:
        return None
    return f"operands of {shapes} broadcast in {merged} dimensions, allowed up to {BROADCAST_RANK}"


def rank_between(least: int, largest: int) -> Limit:
    """A limit on the rank of every operand."""

    def limit(view: NodeView) -> str | None:
        for name in filter(None, view.node.inputs):
            rank = len(view.graph.tensors[name].shape)
            if not least <= rank <= largest:
                return f"{name} has rank {rank}, allowed {least} to {largest}"
        return None

    return _documented(limit, f"Operands have {least} to {largest} dimensions.")


def plane(view: NodeView) -> str | None:
    """The operator has two spatial dimensions."""
    count = len(view.input().shape) - 2
    return None if count == 2 else f"it has {count} spatial dimensions, allowed 2"


# --- windows --------------------------------------------------------------------


def pads_not_negative(view: NodeView) -> str | None:
    """Padding is not negative."""
    pads: tuple[int, ...] = getattr(view.op, "pads", ())
    return None if min(pads, default=0) >= 0 else f"the pads are {pads}, allowed from 0"


def no_groups(view: NodeView) -> str | None:
    """Groups are 1."""
    groups = getattr(view.op, "groups", 1)
    return None if groups == 1 else f"there are {groups} groups, allowed 1"


def no_dilation(view: NodeView) -> str | None:
    """Dilations are 1."""
    dilations = getattr(view.op, "dilations", ())
    return None if set(dilations) <= {1} else f"the dilations are {dilations}, allowed 1"


def padding_counts_or_is_same(view: NodeView) -> str | None:
    """Padding counts in the mean, or is the one that SAME gives."""
    op = view.op
    assert isinstance(op, ops.AveragePool)
    if op.count_include_pad or implicit_padding(pool_axes(view)) is not None:
        return None
    return f"the pads {op.pads} do not count in the mean and are not {FlatPadding.SAME.name}"


def windows_inside(view: NodeView) -> str | None:
    """Every window touches the input."""
    for axis in pool_axes(view):
        if axis.overhang >= axis.kernel or axis.begin >= axis.kernel:
            return f"a window of {axis.kernel} lies in the padding alone"
    return None


# --- resizing -------------------------------------------------------------------


def resize_is_exact(view: NodeView) -> str | None:
    """Linear resizing is half_pixel, align_corners or asymmetric at every size."""
    op = view.op
    assert isinstance(op, ops.Resize)
    if op.mode == "nearest" or exact_mode(view) is not None:
        return None
    sizes = f"{view.input().shape[1:-1]} to {view.output().shape[1:-1]}"
    return f"no mode of TFLite is {op.mode} with {op.coordinates} from {sizes}"


# --- attributes -----------------------------------------------------------------


def axis_is_last(view: NodeView) -> str | None:
    """The axis is the last one."""
    axis, rank = getattr(view.op, "axis", 0), len(view.input().shape)
    return None if axis == rank - 1 else f"the axis is {axis} of {rank}, allowed the last one"


def blocks_come_first(view: NodeView) -> str | None:
    """Channels are in the order DCR: position in the block, then channel."""
    mode = getattr(view.op, "mode", "DCR")
    return None if mode == "DCR" else f"the order of channels is {mode}, allowed DCR"


def elu_alpha_is_one(view: NodeView) -> str | None:
    """Alpha is 1."""
    alpha = getattr(view.op, "alpha", 1.0)
    return None if alpha == 1.0 else f"alpha is {alpha:g}, allowed 1"


def reflects_inside(view: NodeView) -> str | None:
    """Reflected padding is smaller than the dimension it reflects."""
    op = view.op
    assert isinstance(op, ops.Pad)
    shape = view.input().shape
    widest = [max(pair) for pair in zip(op.pads[: len(shape)], op.pads[len(shape) :], strict=True)]
    for axis, (size, pad) in enumerate(zip(shape, widest, strict=True)):
        if op.mode == "reflect" and pad >= size:
            return f"axis {axis} of {size} is padded by {pad}, allowed up to {size - 1}"
    return None


def fill_is_moderate(view: NodeView) -> str | None:
    """The padding value fits an integer tensor's range: at most 1e6 in magnitude."""
    op = view.op
    assert isinstance(op, ops.Pad)
    if op.mode != "constant" or (math.isfinite(op.value) and abs(op.value) <= LARGEST_FILL):
        return None
    return f"the padding value is {op.value:g}, allowed up to {LARGEST_FILL:g} in magnitude"


def casts_between(allowed: Iterable[DType]) -> Limit:
    """A limit on the types of both ends of a Cast."""
    kinds = tuple(allowed)
    names = ", ".join(kind.value for kind in kinds)

    def limit(view: NodeView) -> str | None:
        found = (view.input().dtype, view.output().dtype)
        odd = next((kind for kind in found if kind not in kinds), None)
        return None if odd is None else f"it casts {odd.value}, allowed: {names}"

    return _documented(limit, f"Both ends are of type {names}.")
