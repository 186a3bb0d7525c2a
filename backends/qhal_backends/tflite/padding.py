"""From explicit pads to the two paddings that TFLite has, and back.

TFLite states SAME or VALID and derives the amounts (``ComputePaddingWithOffset`` in
tensorflow/lite/kernels/padding.h). What a window sees depends only on where the first one
begins and how many there are, so pads at the end that no window reaches do not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from qhal_backends.tflite.flat import FlatPadding

Ints = tuple[int, ...]


class Windowed(Protocol):
    """An operator with strides and pads."""

    @property
    def strides(self) -> Ints:
        """Steps between windows, one per spatial dimension."""

    @property
    def pads(self) -> Ints:
        """Padding, all begins and then all ends."""


@dataclass(frozen=True)
class Axis:
    """One spatial dimension of a windowed operator.

    Attributes:
        size: elements of the input.
        windows: elements of the output.
        kernel: elements from the first to the last tap, dilation included.
        stride: step between windows.
        begin: padding in front.
    """

    size: int
    windows: int
    kernel: int
    stride: int
    begin: int

    @property
    def overhang(self) -> int:
        """Padding behind that the last window reaches; negative if it ends inside."""
        return (self.windows - 1) * self.stride + self.kernel - self.size - self.begin

    @property
    def is_valid(self) -> bool:
        """True if VALID gives the same windows."""
        return self.begin == 0 and self.windows == (self.size - self.kernel) // self.stride + 1

    @property
    def is_same(self) -> bool:
        """True if SAME gives the same windows."""
        total = max(0, self.overhang + self.begin)
        return self.windows == -(-self.size // self.stride) and self.begin == total // 2


def axes_of(op: Windowed, kernel: Ints, dilations: Ints, sizes: Ints, windows: Ints) -> list[Axis]:
    """Make the spatial dimensions of an operator.

    Args:
        op: strides and pads, one entry per spatial dimension (pads: begins, then ends).
        kernel: taps per dimension.
        dilations: distance of taps per dimension.
        sizes: spatial shape of the input.
        windows: spatial shape of the output.
    """
    return [
        Axis(sizes[i], windows[i], dilations[i] * (taps - 1) + 1, op.strides[i], op.pads[i])
        for i, taps in enumerate(kernel)
    ]


def implicit_padding(axes: list[Axis]) -> FlatPadding | None:
    """Find the padding, SAME or VALID, that gives exactly these windows; else None."""
    if all(axis.is_valid for axis in axes):
        return FlatPadding.VALID
    return FlatPadding.SAME if all(axis.is_same for axis in axes) else None


def explicit_pads(axes: list[Axis]) -> list[tuple[int, int]]:
    """Compute (begin, end) per dimension, with which VALID gives exactly these windows."""
    return [(axis.begin, max(0, axis.overhang)) for axis in axes]
