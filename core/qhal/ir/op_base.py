"""What all canonical operators have in common: layouts, fused activations, roles, traits."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any, ClassVar, Self

Ints = tuple[int, ...]


class Layout(Enum):
    """Order of dimensions of activations: ``(N, C, *spatial)`` or ``(N, *spatial, C)``."""

    NCHW = "NCHW"
    NHWC = "NHWC"

    def channel_axis(self, rank: int) -> int:
        """Return the axis of the channels of an activation of this rank."""
        return 1 if self is Layout.NCHW else rank - 1


class Activation(Enum):
    """An activation fused into the operator before it."""

    NONE = "none"
    RELU = "relu"
    RELU6 = "relu6"


class Role(Enum):
    """What an operand is to quantization."""

    ACTIVATION = "activation"
    WEIGHT = "weight"
    BIAS = "bias"
    INDEX = "index"  # integers that are never quantized


@dataclass(frozen=True)
class Traits:
    """What passes may assume of every node with an operator.

    Attributes:
        elementwise: each element of the result depends on the elements at the same place of the
            operands, which broadcast as in NumPy.
        homogeneous: all operands and results have one element type.
        operands: how many there are, of an element-wise operator; else 0.
        nonnegative: no result is below zero, whatever the operands are.
        recurrent: steps through time with a state; later results may be left out.
    """

    elementwise: bool = False
    homogeneous: bool = False
    operands: int = 0
    nonnegative: bool = False
    recurrent: bool = False


FUNCTION = Traits(elementwise=True, homogeneous=True, operands=1)
"""A function of one number."""

PAIR = Traits(elementwise=True, homogeneous=True, operands=2)
"""A function of two numbers."""


@dataclass(frozen=True)
class Op:
    """Base of all canonical operators.

    ``roles`` names the role of each operand; further operands repeat the last role. An operator
    with the field ``activation`` can compute an activation behind itself.
    """

    roles: ClassVar[tuple[Role, ...]] = (Role.ACTIVATION,)
    traits: ClassVar[Traits] = Traits()

    @property
    def kind(self) -> str:
        """The operator's name in text, tables and capabilities."""
        return type(self).__name__

    def role(self, index: int) -> Role:
        """Return the role of operand ``index``."""
        return self.roles[min(index, len(self.roles) - 1)]

    @classmethod
    def carries_activation(cls) -> bool:
        """Return True if an activation can be fused into the operator."""
        return any(field.name == "activation" for field in fields(cls))

    @property
    def fused(self) -> Activation:
        """The activation that is fused into the operator."""
        found: Activation = getattr(self, "activation", Activation.NONE)
        return found

    def with_activation(self, activation: Activation) -> Self:
        """Return the operator with another fused activation; only for one that can carry it."""
        changes: dict[str, Any] = {"activation": activation}
        return replace(self, **changes)
