"""Pooling."""

from __future__ import annotations

import numpy as np

from qhal.decisions import Code
from qhal.ir.graph import NodeView
from qhal.ir.ops import AveragePool, MaxPool
from qhal_backends.tflite.emitter import Emitter
from qhal_backends.tflite.flat import FlatPadding, OptionValue
from qhal_backends.tflite.lowering.pads import pad_explicitly, pad_with_lowest
from qhal_backends.tflite.padding import Axis, explicit_pads, implicit_padding
from qhal_backends.tflite.windows import pool_axes


def _max_pool(e: Emitter, view: NodeView) -> None:
    x, y = view.node.inputs[0], view.node.outputs[0]
    axes = pool_axes(view)
    padding = implicit_padding(axes)
    if padding is None:
        x, padding = pad_with_lowest(e, view, x, explicit_pads(axes)), FlatPadding.VALID
    e.emit("MAX_POOL_2D", [x], [y], **_options(view, padding))


def _options(view: NodeView, padding: FlatPadding) -> dict[str, OptionValue]:
    op = view.op
    assert isinstance(op, MaxPool | AveragePool)
    return {
        "padding": padding,
        "filterHeight": op.kernel[0],
        "filterWidth": op.kernel[1],
        "strideH": op.strides[0],
        "strideW": op.strides[1],
    }


def _average_pool(e: Emitter, view: NodeView) -> None:
    """TFLite never counts padding; where it counts, a PAD makes it part of the input."""
    op = view.op
    assert isinstance(op, AveragePool)
    x, y = view.node.inputs[0], view.node.outputs[0]
    axes = pool_axes(view)
    padding = implicit_padding(axes)
    if padding is FlatPadding.VALID or (padding is not None and not op.count_include_pad):
        e.emit("AVERAGE_POOL_2D", [x], [y], **_options(view, padding))
        return
    padded = pad_explicitly(e, view, x, explicit_pads(axes))
    pooled = (
        y if op.count_include_pad else e.like(y, f"{view.node.name}/all", e.tensor(y).type.shape)
    )
    e.emit("AVERAGE_POOL_2D", [padded], [pooled], **_options(view, FlatPadding.VALID))
    if pooled != y:
        _correct_counts(e, view, pooled, y, axes)


def _correct_counts(e: Emitter, view: NodeView, pooled: str, y: str, axes: list[Axis]) -> None:
    """Multiply by taps / taps inside the input: only in float, see the limits."""
    e.decide(
        Code.DECOMPOSED,
        f"{view.op.kind} {view.node.name}: its padding is not counted and is not SAME, so a MUL "
        "corrects the mean.",
    )
    rows, columns = (_taps_inside(axis) for axis in axes)
    taps = axes[0].kernel * axes[1].kernel
    factor = taps / np.outer(rows, columns).astype(np.float32)
    constant = e.constant(f"{view.node.name}/counts", factor[None, :, :, None].astype(np.float32))
    e.emit("MUL", [pooled, constant], [y])


def _taps_inside(axis: Axis) -> list[int]:
    """How many taps of each window lie on the input."""
    starts = [i * axis.stride - axis.begin for i in range(axis.windows)]
    return [min(start + axis.kernel, axis.size) - max(start, 0) for start in starts]


LOWERINGS = {MaxPool: _max_pool, AveragePool: _average_pool}
