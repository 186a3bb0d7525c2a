"""Operators that move or convert elements; :mod:`qhal.ir.ops` has all operators."""

from __future__ import annotations

from dataclasses import dataclass

from qhal.ir.dtypes import DType
from qhal.ir.op_base import FUNCTION, Ints, Op, Role, Traits

# --- data movement ------------------------------------------------------------


@dataclass(frozen=True)
class Reshape(Op):
    """Same elements in the same order, another shape (fully static)."""

    shape: Ints


@dataclass(frozen=True)
class Transpose(Op):
    """Permute the dimensions: output dimension i is input dimension ``perm[i]``."""

    perm: Ints


@dataclass(frozen=True)
class Concat(Op):
    """Join all operands along an axis."""

    axis: int


@dataclass(frozen=True)
class Split(Op):
    """Cut along an axis into outputs of the given sizes."""

    axis: int
    sizes: Ints


@dataclass(frozen=True)
class Slice(Op):
    """``x[starts[i] : starts[i] + sizes[i]*steps[i] : steps[i]]`` in every dimension i.

    One entry per dimension; ``sizes`` is the output's shape; a negative step walks down.
    """

    starts: Ints
    sizes: Ints
    steps: Ints


REARRANGING = frozenset({"Reshape", "Transpose", "Split", "Slice", "Concat"})
"""Kinds whose results hold elements of the operands in other places, and nothing else."""


@dataclass(frozen=True)
class Pad(Op):
    """Pad every dimension (all begins, then all ends); ``mode``: constant, reflect or edge."""

    pads: Ints
    mode: str = "constant"
    value: float = 0.0


@dataclass(frozen=True)
class Gather(Op):
    """``take(x, indices, axis)``; operands x, indices (int64, or int32 in artifacts)."""

    roles = (Role.ACTIVATION, Role.INDEX)
    axis: int


@dataclass(frozen=True)
class Expand(Op):
    """Broadcast to a static shape."""

    shape: Ints


@dataclass(frozen=True)
class Tile(Op):
    """Repeat along every dimension."""

    repeats: Ints


@dataclass(frozen=True)
class Cast(Op):
    """Convert the elements to another type."""

    traits = Traits(elementwise=True, operands=1)
    to: DType


# --- conversions: only in a quantized graph -----------------------------------


@dataclass(frozen=True)
class Quantize(Op):
    """Float to integer, with the parameters of the output tensor."""

    traits = Traits(elementwise=True, operands=1)


@dataclass(frozen=True)
class Dequantize(Op):
    """Integer to float, with the parameters of the input tensor."""

    traits = Traits(elementwise=True, operands=1)


@dataclass(frozen=True)
class Requantize(Op):
    """Integer to integer, from the parameters of the input to those of the output."""

    traits = FUNCTION
