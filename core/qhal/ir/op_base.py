"""What all canonical operators have in common: layouts, fused activations, operand roles."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

Ints = tuple[int, ...]


class Layout(Enum):
    """Order of dimensions of activations: ``(N, C, *spatial)`` or ``(N, *spatial, C)``."""

    NCHW = "NCHW"
    NHWC = "NHWC"

    def channel_axis(self, rank: int) -> int:
        """Axis of the channels of an activation of this rank."""
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
class Op:
    """Base of all canonical operators.

    ``roles`` names the role of each operand; further operands repeat the last role.
    """

    roles: ClassVar[tuple[Role, ...]] = (Role.ACTIVATION,)

    @property
    def kind(self) -> str:
        """The operator's name in text, tables and capabilities."""
        return type(self).__name__

    def role(self, index: int) -> Role:
        """The role of operand ``index``."""
        return self.roles[min(index, len(self.roles) - 1)]
