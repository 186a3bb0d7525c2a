"""What the forms of opaque nodes share: their ONNX attributes, and small pieces of graphs."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array
from qhal.ir.ops import Ints
from qhal.legal.forms.draft import Draft

Integers = npt.NDArray[np.int64]

MOST_BYTES = 256 << 20
"""Of one constant that a form makes; what would need a larger one stays the node that it is."""


class Attributes:
    """The ONNX attributes of an opaque node."""

    def __init__(self, d: Draft) -> None:
        assert isinstance(d.node.op, ops.Opaque)
        proto = onnx.NodeProto.FromString(d.node.op.proto)
        self._found = {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}

    def has(self, name: str) -> bool:
        """Return True if the attribute is stated."""
        return name in self._found

    def integer(self, name: str, default: int = 0) -> int:
        """Return an integer."""
        return int(self._found.get(name, default))

    def number(self, name: str, default: float) -> float:
        """Return a float."""
        return float(self._found.get(name, default))

    def text(self, name: str, default: str) -> str:
        """Return a text."""
        found: Any = self._found.get(name)
        return default if found is None else bytes(found).decode()

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts; an empty one if it is absent."""
        found: Any = self._found.get(name, ())
        return tuple(bytes(text).decode() for text in found)

    def numbers(self, name: str) -> tuple[float, ...]:
        """Return a list of floats; an empty one if it is absent."""
        found: Any = self._found.get(name, ())
        return tuple(float(number) for number in found)

    def ints(self, name: str) -> Ints | None:
        """Return a list of integers; None if it is absent."""
        found = self._found.get(name)
        return None if found is None else tuple(int(i) for i in found)

    def axis(self, name: str, default: int, rank: int) -> int:
        """Return an axis, non-negative."""
        return self.integer(name, default) % rank


def fits(*sizes: int) -> bool:
    """Return True if a form may make a constant of so many float64 or int64 elements."""
    return prod(sizes) * 8 <= MOST_BYTES


def reshaped(d: Draft, hint: str, x: str, shape: Ints) -> str:
    """Give a tensor another shape, if it has not got it."""
    return x if d.shape(x) == shape else d(hint, ops.Reshape(shape), x)


def taken(d: Draft, hint: str, x: str, axis: int, places: Array) -> str:
    """Take the elements at constant places along an axis, evenly spaced ones as a slice."""
    shape, found = d.shape(x), [int(i) for i in places]
    if found == list(range(shape[axis])):
        return x
    step = found[1] - found[0] if len(found) > 1 else 1
    if step == 0 or found != [found[0] + i * step for i in range(len(found))]:
        return d(hint, ops.Gather(axis), x, d.constant("places", found, DType.INT64))
    return sliced(d, hint, x, axis, found[0], len(found), step)


def sliced(d: Draft, hint: str, x: str, axis: int, start: int, size: int, step: int = 1) -> str:
    """Take a slice along an axis."""
    shape = d.shape(x)
    starts = tuple(start if i == axis else 0 for i in range(len(shape)))
    sizes = tuple(size if i == axis else n for i, n in enumerate(shape))
    steps = tuple(step if i == axis else 1 for i in range(len(shape)))
    return d(hint, ops.Slice(starts, sizes, steps), x)


def times_matrix(d: Draft, hint: str, x: str, axis: int, matrix: Array) -> str:
    """Multiply every vector along an axis by a constant matrix (results, elements)."""
    rank = len(d.shape(x))
    perm = (*(i for i in range(rank) if i != axis), axis)
    moved = x if axis == rank - 1 else d(f"{hint}/last", ops.Transpose(perm), x)
    weight = d.constant(f"{hint}/matrix", matrix)
    made = d(hint, ops.FullyConnected(), moved, weight)
    back = tuple(int(i) for i in np.argsort(perm))
    return made if axis == rank - 1 else d(f"{hint}/back", ops.Transpose(back), made)


def strides_of(shape: Ints) -> Ints:
    """Return how far apart neighbors of each dimension are in a flat tensor."""
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))


def as_int64(d: Draft, name: str) -> str:
    """Convert indices to the type that Gather takes."""
    if d.type(name).dtype is DType.INT64:
        return name
    return d("int64", ops.Cast(DType.INT64), name)


def from_start(d: Draft, indices: str, size: int | Array) -> str:
    """Count indices from the start of a dimension where they count from its end."""
    zero = d.constant("zero", 0, DType.INT64)
    below = d("below", ops.Compare("<"), indices, zero)
    raised = d("raised", ops.Add(), indices, d.constant("size", size, DType.INT64))
    return d("placed", ops.Where(), below, raised, indices)
