"""How many bytes of scratch memory the kernels of CMSIS-NN ask for.

The rules are those of CMSIS-NN at 4ab83cc (17 June 2026, the version that tflite-micro builds),
files ``Source/*/arm_*_get_buffer_sizes_s8.c`` and ``_s16.c``. Where a size depends on the compiler
(Arm's, or GCC and others), the larger one is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

from qhal_backends.arm.cortexm.cores import Kernels

_INT8_LANES = 16
_INT16_LANES = 8
_COLUMNS = 4
"""Columns that a matrix product of Helium takes at once."""
_CHANNEL_BLOCK = 124
"""CH_IN_BLOCK_MVE in ``arm_nnsupportfunctions.h``."""
_REVERSE_ABOVE = 16
"""REVERSE_TCOL_EFFICIENT_THRESHOLD in the same file."""


@dataclass(frozen=True)
class Window:
    """One spatial dimension of a convolution.

    Attributes:
        size: of the input.
        out: of the output.
        kernel: of the filter.
        stride: between two windows.
        dilation: between two elements of a window.
        pad: padding in front.
    """

    size: int
    out: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    pad: int = 0


@dataclass(frozen=True)
class Layer:
    """A convolution, as CMSIS-NN sees it.

    Attributes:
        y: the vertical dimension.
        x: the horizontal dimension.
        channels: of the input.
        filters: channels of the output.
        depth: channels that one filter reads; differs from ``channels`` in a grouped convolution.
        batch: number of images.
    """

    y: Window
    x: Window
    channels: int
    filters: int
    depth: int
    batch: int = 1

    @property
    def taps(self) -> int:
        """Elements of a window."""
        return self.y.kernel * self.x.kernel

    @property
    def undilated(self) -> bool:
        """True if neither dimension is dilated."""
        return self.y.dilation == self.x.dilation == 1

    @property
    def unpadded(self) -> bool:
        """True if neither dimension has padding in front."""
        return self.y.pad == self.x.pad == 0


def convolution_s8(layer: Layer, kernels: Kernels) -> int:
    """Count for ``arm_convolve_wrapper_s8``."""
    whole = layer.channels == layer.depth
    if whole and layer.taps == 1 and layer.undilated and layer.unpadded:
        return pointwise_s8(layer, kernels)
    if kernels is Kernels.DSP:
        return 2 * 2 * _rounded_up(layer.taps * layer.channels, 4)
    if whole and _is_row(layer):
        return _row_s8(layer)
    return _columns_s8(layer)


def pointwise_s8(layer: Layer, kernels: Kernels) -> int:
    """Count for ``arm_convolve_1x1_s8_fast``: with Arm's compiler two columns of int16."""
    fast = layer.y.stride == layer.x.stride == 1 and kernels is Kernels.DSP
    return 2 * 2 * layer.channels if fast else 0


def _is_row(layer: Layer) -> bool:
    """Decide as ``arm_nn_is_convolve_1_x_n`` does."""
    aligned = layer.x.stride * layer.channels % 4 == 0
    return layer.y.size == layer.y.kernel == layer.x.dilation == 1 and aligned


def _padded_ends(x: Window) -> tuple[int, int, int] | None:
    """Count the odd element of padding and the padded windows of a row, right and left.

    None if windows are padded at both ends.
    """
    missing = (x.out - 1) * x.stride + x.kernel - x.size
    # The remainder of C: a negative number keeps its sign.
    odd = missing % 2 if missing >= 0 else -(-missing % 2)
    right = max(1, (x.pad + odd + x.stride - 1) // x.stride) if x.pad + odd else 0
    left = max(1, (x.pad + x.stride - 1) // x.stride) if x.pad else 0
    fits = right + left + max(x.out - right - left, 0) == x.out
    return (odd, right, left) if fits else None


def _row_s8(layer: Layer) -> int:
    """Count for ``arm_convolve_1_x_n_s8``: the padded windows at both ends of the row."""
    x, ends = layer.x, _padded_ends(layer.x)
    if ends is None:
        return _columns_s8(layer)
    odd, right, _ = ends
    pad_left = x.pad * layer.channels
    pad_right = right * layer.channels if odd else pad_left
    window = x.kernel * layer.channels
    return max(window + pad_left, window - layer.channels + pad_right)


def _columns_s8(layer: Layer) -> int:
    return _COLUMNS * _rounded_up(layer.taps * layer.channels, _INT8_LANES)


def convolution_s4(layer: Layer, kernels: Kernels) -> int:
    """Count for ``arm_convolve_wrapper_s4``, which knows no groups."""
    if layer.taps == 1 and layer.undilated and layer.unpadded:
        return 0
    if kernels is Kernels.DSP:
        return 2 * 2 * layer.taps * layer.channels
    fits = _is_row(layer) and _padded_ends(layer.x) is not None
    return 0 if fits else _columns_s8(layer)


def convolution_s16(layer: Layer, kernels: Kernels) -> int:
    """Count for ``arm_convolve_wrapper_s16``."""
    column = layer.taps * layer.channels
    if kernels is Kernels.DSP:
        return 2 * 2 * column
    return _COLUMNS * 2 * _rounded_up(column, _INT16_LANES)


def depthwise_s8(layer: Layer, kernels: Kernels) -> int:
    """Count for ``arm_depthwise_conv_wrapper_s8``."""
    plain = layer.channels == layer.filters and layer.batch == 1 and layer.undilated
    if kernels is Kernels.DSP:
        is_3x3 = layer.y.kernel == layer.x.kernel == 3 and max(layer.y.pad, layer.x.pad) <= 1
        return 2 * layer.channels * layer.taps if plain and not is_3x3 else 0
    size = _COLUMNS * _CHANNEL_BLOCK * layer.taps if plain else 0
    # From how many filters on it is done as a convolution depends on the compiler: 2 or 9.
    as_convolution = layer.channels == 1 and layer.filters > 1
    return max(size, _one_channel_s8(layer)) if as_convolution else size


def depthwise_s4(layer: Layer, kernels: Kernels) -> int:
    """Count for ``arm_depthwise_conv_wrapper_s4``."""
    plain = layer.channels == layer.filters and layer.batch == 1 and layer.undilated
    if not plain:
        return 0
    dsp = kernels is Kernels.DSP
    return (2 * layer.channels if dsp else _COLUMNS * _CHANNEL_BLOCK) * layer.taps


def _one_channel_s8(layer: Layer) -> int:
    """Count for a depthwise convolution of one channel, which Helium does as a convolution."""
    return convolution_s8(layer, Kernels.HELIUM) + layer.filters * layer.taps


def transposed_s8(layer: Layer, kernels: Kernels) -> tuple[int, int]:
    """Count for ``arm_transpose_conv_wrapper_s8``.

    Returns:
        For the sums or columns, and for the reversed filter.
    """
    y, x = layer.y, layer.x
    if max(y.stride, x.stride) <= 2 and layer.channels > _REVERSE_ABOVE:
        return _plain_s8(layer, kernels), layer.channels * layer.taps * layer.filters
    # The row's length takes the stride of the other dimension, as the source does.
    row = ((x.size - 1) * x.stride + max(x.kernel, y.stride)) * layer.filters
    return 4 * row * max(y.kernel, y.stride), 0


def _plain_s8(layer: Layer, kernels: Kernels) -> int:
    """Count for ``arm_convolve_s8``, which has no shortcuts."""
    if kernels is Kernels.DSP:
        return 2 * 2 * _rounded_up(layer.taps * layer.channels, 4)
    return _columns_s8(layer)


def average_pool(channels: int, kernels: Kernels) -> int:
    """Count for ``arm_avgpool_s8`` and ``arm_avgpool_s16``: an int32 sum for each channel."""
    return 4 * channels if kernels is Kernels.DSP else 0


def product_s8(columns: int, kernels: Kernels) -> int:
    """Count for ``arm_fully_connected_s8``: an int32 sum for each column of the result."""
    return 4 * columns if kernels is Kernels.HELIUM else 0


def _rounded_up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple
