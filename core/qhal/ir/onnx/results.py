"""Shapes that onnx infers otherwise than ONNX Runtime computes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from qhal.ir.graph import TensorType
from qhal.ir.onnx.call import ImportCall
from qhal.ir.onnx.windows import ceil_pads, explicit_pads, window


def corrected(call: ImportCall, types: Sequence[TensorType | None]) -> list[TensorType | None]:
    """Return the types of a node's outputs with the shapes that ONNX Runtime makes."""
    correct = _CORRECTIONS.get(call.kind) if call.node.domain == "" else None
    if correct is None:
        return list(types)
    return [found and replace(found, shape=correct(call, found)) for found in types]


def _pooled(call: ImportCall, found: TensorType) -> tuple[int, ...]:
    """Leave out windows that ``ceil_mode`` would start in the padding at the end."""
    if not call.flag("ceil_mode"):
        return found.shape
    frame = window(call, call.ints("kernel_shape") or call.shape()[2:])
    pads = ceil_pads(frame, explicit_pads(call, frame))
    totals = (n + pads[i] + pads[frame.rank + i] for i, n in enumerate(frame.spatial))
    triples = zip(totals, frame.extent, frame.strides, strict=True)
    counts = ((total - extent) // stride + 1 for total, extent, stride in triples)
    return (*found.shape[:2], *counts)


def _transformed(call: ImportCall, found: TensorType) -> tuple[int, ...]:
    """Count the bins of a spectrum: half of them and one, unless ``onesided`` says otherwise."""
    batch, frames, bins, parts = found.shape
    if call.attribute("onesided") is None:
        bins = bins // 2 + 1
    return (batch, frames, bins, parts)


_CORRECTIONS: Mapping[str, Callable[[ImportCall, TensorType], tuple[int, ...]]] = {
    **dict.fromkeys(("AveragePool", "LpPool", "MaxPool"), _pooled),
    "STFT": _transformed,
}
