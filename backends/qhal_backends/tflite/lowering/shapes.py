"""RESHAPE, and the shapes that broadcasting kernels can take."""

from __future__ import annotations

from qhal.ir.graph import NodeView
from qhal_backends.tflite.broadcasting import BROADCAST_RANK, compact
from qhal_backends.tflite.emitter import Emitter
from qhal_backends.tflite.flat import OptionValue


def reshape(e: Emitter, source: str, result: str) -> None:
    """Append a RESHAPE to the shape of ``result``."""
    shape = e.tensor(result).type.shape
    e.emit("RESHAPE", [source, e.integers(f"{result}/shape", shape)], [result], newShape=shape)


def emit_broadcast(e: Emitter, view: NodeView, builtin: str, **options: OptionValue) -> None:
    """Append an element-wise operator of several operands.

    Operands of higher rank than the kernels take are reshaped, which moves no data.
    """
    names, (y,) = view.node.inputs, view.node.outputs
    shapes = [e.tensor(name).type.shape for name in names]
    if len(e.tensor(y).type.shape) <= BROADCAST_RANK:
        e.emit(builtin, names, [y], **options)
        return
    *operands, result = compact([*shapes, e.tensor(y).type.shape])
    inputs = [_reshaped(e, name, shape) for name, shape in zip(names, operands, strict=True)]
    made = e.like(y, f"{y}/compact", result)
    e.emit(builtin, inputs, [made], **options)
    reshape(e, made, y)


def _reshaped(e: Emitter, name: str, shape: tuple[int, ...]) -> str:
    tensor = e.tensor(name)
    have = tensor.type.shape
    if len(have) <= BROADCAST_RANK and _trimmed(have) == _trimmed(shape):
        return name  # broadcasting puts ones in front by itself
    if tensor.value is not None:
        return e.constant(f"{name}/compact", tensor.value.reshape(shape), tensor.params)
    made = e.like(name, f"{name}/compact", shape)
    reshape(e, name, made)
    return made


def _trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Remove the leading ones of a shape."""
    first = next((i for i, size in enumerate(shape) if size > 1), len(shape))
    return shape[first:]
