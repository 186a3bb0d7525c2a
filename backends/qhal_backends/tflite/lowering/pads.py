"""Explicit padding in front of an operator that has SAME and VALID only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qhal.decisions import Code
from qhal.ir.graph import NodeView
from qhal_backends.tflite.emitter import Emitter
from qhal_backends.tflite.flat import FlatTensor
from qhal_backends.tflite.windows import is_non_negative

Pads = Sequence[tuple[int, int]]


def pad_explicitly(e: Emitter, view: NodeView, x: str, pads: Pads) -> str:
    """Put zeros around the spatial dimensions of ``x``, by an extra operator that is recorded."""
    e.decide(
        Code.DECOMPOSED,
        f"{view.op.kind} {view.node.name}: its padding {tuple(pads)} is neither SAME nor VALID, so "
        "a PAD operator stands in front of it.",
    )
    padded, amounts = _padded(e, view, x, pads)
    e.emit("PAD", [x, amounts], [padded])
    return padded


def pad_with_lowest(e: Emitter, view: NodeView, x: str, pads: Pads) -> str:
    """Put a value that never wins a maximum around the node's operand, which is ``x``."""
    source = e.tensor(x)
    if _zero_is_lowest(source) or is_non_negative(e.model.graph, view.node.inputs[0]):
        return pad_explicitly(e, view, x, pads)  # PAD runs in XNNPACK, PADV2 does not
    e.decide(
        Code.DECOMPOSED,
        f"{view.op.kind} {view.node.name}: its padding {tuple(pads)} is neither SAME nor VALID, so "
        "a PADV2 operator stands in front of it.",
    )
    padded, amounts = _padded(e, view, x, pads)
    dtype = source.type.dtype
    lowest = np.finfo(np.float32).min if dtype.is_float else dtype.qmin
    fill = e.constant(f"{padded}/fill", np.asarray(lowest, dtype.numpy), source.params)
    e.emit("PADV2", [x, amounts, fill], [padded])
    return padded


def _zero_is_lowest(tensor: FlatTensor) -> bool:
    """Return True if no integer of a tensor stands for a negative number."""
    return tensor.params is not None and int(tensor.params.zero_point) == tensor.type.dtype.qmin


def _padded(e: Emitter, view: NodeView, x: str, pads: Pads) -> tuple[str, str]:
    shape = e.tensor(x).type.shape
    amounts = [(0, 0), *pads, (0, 0)]
    grown = [size + sum(amount) for size, amount in zip(shape, amounts, strict=True)]
    padded = e.like(x, f"{view.node.name}/padded", grown)
    return padded, e.integers(f"{padded}/pads", amounts)
