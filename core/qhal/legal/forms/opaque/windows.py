"""Poolings with dilations, and of powers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qhal.ir import ops
from qhal.ir.graph import Array
from qhal.ir.ops import Ints
from qhal.legal.forms.draft import Draft
from qhal.legal.forms.functions import Results
from qhal.legal.forms.opaque.node import Attributes, Integers, fits, taken


@dataclass(frozen=True)
class _Axis:
    """Windows along one spatial dimension."""

    size: int
    count: int
    kernel: int
    stride: int
    dilation: int
    begin: int

    @property
    def taps(self) -> Integers:
        """Places that each window reads (count, kernel); some are in the padding."""
        starts = np.arange(self.count)[:, None] * self.stride - self.begin
        return np.asarray(starts + np.arange(self.kernel) * self.dilation)

    @property
    def inside(self) -> Array:
        """Which of them are in the tensor."""
        return np.asarray((self.taps >= 0) & (self.taps < self.size))


def _axes(d: Draft) -> list[_Axis]:
    """Read the windows of a pooling; how many there are says its output."""
    attributes = Attributes(d)
    sizes, counts = d.shape(d.input(0))[2:], d.shape(d.node.outputs[0])[2:]
    kernel, ones = attributes.ints("kernel_shape") or sizes, (1,) * len(sizes)
    strides, dilations = attributes.ints("strides") or ones, attributes.ints("dilations") or ones
    mode = attributes.text("auto_pad", "NOTSET")
    begins = (attributes.ints("pads") or (0,) * len(sizes))[: len(sizes)]
    found = []
    for i, size in enumerate(sizes):
        axis = _Axis(size, counts[i], kernel[i], strides[i], dilations[i], begins[i])
        found.append(axis if mode in ("NOTSET", "") else _placed(axis, mode))
    return found


def _placed(axis: _Axis, mode: str) -> _Axis:
    extent = (axis.kernel - 1) * axis.dilation + 1
    total = max((axis.count - 1) * axis.stride + extent - axis.size, 0)
    begin = {"SAME_UPPER": total // 2, "SAME_LOWER": total - total // 2}.get(mode, 0)
    return _Axis(axis.size, axis.count, axis.kernel, axis.stride, axis.dilation, begin)


def _are_small(axes: list[_Axis]) -> bool:
    """Return True if constants for every tap are no larger than a form may make."""
    return all(fits(axis.count, axis.kernel) for axis in axes) and fits(*(a.kernel for a in axes))


def dilated_max_pool(d: Draft) -> Results:
    """Lay the windows side by side, and pool without overlap.

    A tap in the padding reads what another tap of its window reads: the maximum is the same.
    """
    axes = _axes(d)
    if len(d.node.outputs) > 1 or not _are_small(axes):
        return None
    if not all(axis.inside.any(1).all() for axis in axes):
        return None
    x = d.input(0)
    for i, axis in enumerate(axes):
        first = np.take_along_axis(axis.taps, axis.inside.argmax(1)[:, None], 1)
        places = np.where(axis.inside, axis.taps, first)
        x = taken(d, "windows", x, 2 + i, places.reshape(-1))
    kernel = tuple(axis.kernel for axis in axes)
    return (d("largest", ops.MaxPool(kernel, kernel, (0,) * (2 * len(axes))), x),)


def dilated_average_pool(d: Draft) -> Results:
    """Sum the windows, and divide by how many elements each of them has."""
    axes, attributes = _axes(d), Attributes(d)
    if not _are_small(axes):
        return None
    counts = [axis.inside.sum(1) for axis in axes]
    if attributes.integer("count_include_pad"):
        counts = [_stated(d, i, axis) for i, axis in enumerate(axes)]
    if not all(count.all() for count in counts):
        return None
    share = 1.0
    for i, count in enumerate(counts):
        share = share / count.reshape(-1, *(1,) * (len(counts) - 1 - i))
    sums = _window_sums(d, d.input(0), axes)
    return (d("means", ops.Mul(), sums, d.constant("shares", share)),)


def _stated(d: Draft, index: int, axis: _Axis) -> Array:
    """Count the taps in the tensor and its stated padding, not what ``ceil_mode`` adds."""
    pads = Attributes(d).ints("pads")
    rank = len(d.shape(d.input(0))) - 2
    if pads is None:
        return np.full(axis.count, axis.kernel)
    return np.asarray((axis.taps < axis.size + pads[rank + index]).sum(1))


def _window_sums(d: Draft, x: str, axes: list[_Axis]) -> str:
    """Convolve each channel with ones."""
    channels, kernel = d.shape(x)[1], tuple(axis.kernel for axis in axes)
    pads: Ints = (
        *(axis.begin for axis in axes),
        *(max(int(axis.taps.max()) + 1 - axis.size, 0) for axis in axes),
    )
    strides = tuple(axis.stride for axis in axes)
    dilations = tuple(axis.dilation for axis in axes)
    ones = d.constant("ones", np.ones((channels, 1, *kernel)))
    return d("sums", ops.DepthwiseConv(strides, pads, dilations), x, ones)


def power_pool(d: Draft) -> Results:
    """Write LpPool: the root of the sum of powers in each window."""
    axes = _axes(d)
    if not _are_small(axes):
        return None
    return (_root(d, _window_sums(d, _power(d), axes)),)


def global_power_pool(d: Draft) -> Results:
    """Write GlobalLpPool: the root of the sum of powers of each channel."""
    axes = tuple(range(2, len(d.shape(d.input(0)))))
    return (_root(d, d("sums", ops.Reduce("Sum", axes), _power(d))),)


def _power(d: Draft) -> str:
    """Compute ``|x| ** p``."""
    p, x = Attributes(d).integer("p", 2), d.input(0)
    square = d("square", ops.Mul(), x, x) if p in (2, 3) else ""
    if p == 2:
        return square
    size = d("size", ops.Unary("Abs"), x)
    if p == 1:
        return size
    if p == 3:
        return d("cube", ops.Mul(), square, size)
    return d("power", ops.Pow(), size, d.constant("p", p))


def _root(d: Draft, sums: str) -> str:
    p = Attributes(d).integer("p", 2)
    if p == 2:
        return d("root", ops.Unary("Sqrt"), sums)
    return sums if p == 1 else d("root", ops.Pow(), sums, d.constant("inverse", 1 / p))
