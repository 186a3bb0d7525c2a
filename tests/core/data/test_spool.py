"""Arrays in a temporary file."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from qhal.data.spool import Spool
from qhal.ir.graph import Array


@pytest.fixture
def spool() -> Iterator[Spool]:
    with Spool() as made:
        yield made


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 1, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8, np.bool_])
def test_what_was_made_comes_back(spool: Spool, shape: tuple[int, ...], dtype: type) -> None:
    arrays = {"x": np.ones(shape, dtype), "y": np.arange(5)[::2]}
    first = spool.get(7, lambda: arrays)
    again = spool.get(7, lambda: pytest.fail("made twice"))
    for name, array in arrays.items():
        for found in (first[name], again[name]):
            np.testing.assert_array_equal(found, array)
            assert (found.dtype, found.shape) == (array.dtype, array.shape)


def _full(value: int) -> dict[str, Array]:
    return {"x": np.full(10, value)}


def test_samples_do_not_mix(spool: Spool) -> None:
    for index in (3, 1, 2):
        spool.get(index, partial(_full, index))
    assert [int(spool.get(i, dict)["x"][0]) for i in (1, 2, 3)] == [1, 2, 3]


def test_what_does_not_fit_is_made_again() -> None:
    made = []

    def make() -> dict[str, Array]:
        made.append(1)
        return {"x": np.zeros(200, np.uint8)}

    with Spool(limit_bytes=100) as spool:
        for _ in range(2):
            spool.get(0, make)
    assert len(made) == 2
