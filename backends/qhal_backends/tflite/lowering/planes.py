"""One-dimensional spatial operators, written as two-dimensional ones.

TFLite's spatial kernels take four dimensions (N, H, W, C). An operator on (N, W, C) runs on
(N, 1, W, C), between two RESHAPE operators that move no data.
"""

from __future__ import annotations

from typing import TypeVar

from qhal.ir.graph import NodeView
from qhal_backends.tflite.emitter import Emitter

T = TypeVar("T", bound=tuple[int, ...])


def pair(values: tuple[int, ...]) -> tuple[int, int]:
    """(height, width) of strides, dilations or a kernel of one or two dimensions."""
    return (1, values[0]) if len(values) == 1 else (values[0], values[1])


def pair_pads(pads: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Pads (begins, then ends) of one or two dimensions for two."""
    return (0, pads[0], 0, pads[1]) if len(pads) == 2 else (pads[0], pads[1], pads[2], pads[3])


def plane_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(N, W, C) as (N, 1, W, C); four dimensions as they are."""
    return (shape[0], 1, *shape[1:]) if len(shape) == 3 else shape


def enter_plane(e: Emitter, name: str) -> str:
    """The activation in four dimensions."""
    shape = e.tensor(name).type.shape
    if len(shape) == 4:
        return name
    plane = e.like(name, f"{name}/plane", plane_shape(shape))
    reshape(e, name, plane)
    return plane


def leave_plane(e: Emitter, view: NodeView) -> str:
    """The tensor into which the two-dimensional operator writes; see :func:`close_plane`."""
    name = view.node.outputs[0]
    shape = e.tensor(name).type.shape
    return name if len(shape) == 4 else e.like(name, f"{name}/plane", plane_shape(shape))


def close_plane(e: Emitter, view: NodeView, plane: str) -> None:
    """Bring the result back to the rank of the node's output."""
    if plane != view.node.outputs[0]:
        reshape(e, plane, view.node.outputs[0])


def reshape(e: Emitter, source: str, result: str) -> None:
    """Append a RESHAPE to the shape of ``result``."""
    shape = e.tensor(result).type.shape
    e.emit("RESHAPE", [source, e.integers(f"{result}/shape", shape)], [result], newShape=shape)
