"""Merged dimensions broadcast to the same elements."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qhal_backends.tflite.broadcasting import compact


@st.composite
def shapes(draw: st.DrawFn) -> list[tuple[int, ...]]:
    full = draw(st.lists(st.integers(1, 3), min_size=1, max_size=6))
    found = []
    for _ in range(2):
        ones = draw(st.lists(st.booleans(), min_size=len(full), max_size=len(full)))
        shape = [1 if one else size for one, size in zip(ones, full, strict=True)]
        found.append(tuple(shape[draw(st.integers(0, len(full) - 1)) :]))
    return [*found, tuple(np.broadcast_shapes(*found))]


@given(shapes())
def test_same_elements_in_the_same_order(given_shapes: list[tuple[int, ...]]) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape) for shape in given_shapes[:2])
    left, right, result = compact(given_shapes)
    made = a.reshape(left) + b.reshape(right)
    assert made.shape == result
    np.testing.assert_array_equal(made.reshape(given_shapes[2]), a + b)


def test_rotary_embedding() -> None:
    shapes = [(1, 64, 8, 4, 1), (1, 64, 1, 4, 1), (1, 64, 8, 4, 1)]
    assert compact(shapes) == [(64, 8, 4), (64, 1, 4), (64, 8, 4)]


def test_scalars() -> None:
    assert compact([(), (1, 1), (1, 1)]) == [(1,), (1,), (1,)]
