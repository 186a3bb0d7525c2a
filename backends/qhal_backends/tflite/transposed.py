"""How a transposed convolution fits TFLite's two paddings.

TRANSPOSE_CONV is the gradient of a convolution from its output back to its input: its padding
is that of the forward convolution, and its kernels assume that the forward convolution has
exactly as many windows as the input has elements (tensorflow/lite/kernels/transpose_conv.cc).
If neither padding fits, VALID computes the whole output and a slice of it is cut out.
"""

from __future__ import annotations

from dataclasses import dataclass

from qhal.ir.graph import NodeView
from qhal.ir.ops import ConvTranspose
from qhal_backends.tflite.flat import FlatPadding
from qhal_backends.tflite.padding import Axis, axes_of, implicit_padding


@dataclass(frozen=True)
class TransposedWindow:
    """What TRANSPOSE_CONV has to make.

    Attributes:
        padding: its padding.
        sizes: spatial shape of what it makes.
        crop: where the wanted output begins in it; None if it is the wanted output.
    """

    padding: FlatPadding
    sizes: tuple[int, ...]
    crop: tuple[int, ...] | None = None


def transposed_window(view: NodeView) -> TransposedWindow:
    """Choose the padding and, if needed, the slice of a ConvTranspose in NHWC."""
    return window_of(forward_axes(view, slice(1, -1)))


def window_of(axes: list[Axis]) -> TransposedWindow:
    """Choose the padding and, if needed, the slice for these spatial dimensions."""
    padding = implicit_padding(axes)
    if padding is not None:
        return TransposedWindow(padding, tuple(axis.size for axis in axes))
    whole = (max((a.windows - 1) * a.stride + a.kernel, a.begin + a.size) for a in axes)
    return TransposedWindow(FlatPadding.VALID, tuple(whole), tuple(a.begin for a in axes))


def forward_axes(view: NodeView, spatial: slice) -> list[Axis]:
    """Make the dimensions of the forward convolution: its input is this node's output.

    Args:
        view: a ConvTranspose.
        spatial: where the layout has the spatial dimensions.
    """
    op = view.op
    assert isinstance(op, ConvTranspose)
    kernel = view.input(1).shape[spatial]
    sizes, windows = view.output().shape[spatial], view.input().shape[spatial]
    return axes_of(op, kernel, (1,) * len(kernel), sizes, windows)
