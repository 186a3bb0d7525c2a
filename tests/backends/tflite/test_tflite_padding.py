"""SAME, VALID and explicit padding against a count of windows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qhal_backends.tflite.flat import FlatPadding
from qhal_backends.tflite.padding import Axis, explicit_pads, implicit_padding


def starts(axis: Axis) -> list[int]:
    """Where the windows begin, in elements of the input."""
    return [i * axis.stride - axis.begin for i in range(axis.windows)]


def tflite_starts(size: int, kernel: int, stride: int, padding: FlatPadding) -> list[int]:
    """The same for TFLite's paddings (ComputeOutSize, ComputePaddingWithOffset in padding.h)."""
    if padding is FlatPadding.SAME:
        windows = (size + stride - 1) // stride
    else:
        windows = (size + stride - kernel) // stride
    before = max(0, (windows - 1) * stride + kernel - size) // 2
    return [i * stride - before for i in range(windows)]


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    size, kernel, stride = (draw(st.integers(1, 12)) for _ in range(3))
    begin, end = draw(st.integers(0, kernel)), draw(st.integers(0, kernel))
    windows = (size + begin + end - kernel) // stride + 1
    return Axis(size, max(1, windows), kernel, stride, begin)


@given(axes())
def test_implicit_padding_has_the_same_windows(axis: Axis) -> None:
    padding = implicit_padding([axis])
    found = [
        p
        for p in FlatPadding
        if tflite_starts(axis.size, axis.kernel, axis.stride, p) == starts(axis)
    ]
    assert (padding is None) == (not found)
    assert padding is None or padding in found


@given(axes())
def test_explicit_padding_makes_it_valid(axis: Axis) -> None:
    ((begin, end),) = explicit_pads([axis])
    grown = Axis(axis.size + begin + end, axis.windows, axis.kernel, axis.stride, 0)
    assert implicit_padding([grown]) is FlatPadding.VALID


def test_axes_must_agree() -> None:
    valid, same = Axis(8, 6, 3, 1, 0), Axis(8, 8, 3, 1, 1)
    assert implicit_padding([valid, same]) is None
    assert implicit_padding([same, same]) is FlatPadding.SAME
