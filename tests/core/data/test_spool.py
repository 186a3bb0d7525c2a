"""Arrays in a temporary file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from qhal.data.spool import Spool


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
            assert found.dtype == array.dtype


def test_samples_do_not_mix(spool: Spool) -> None:
    for index in (3, 1, 2):
        spool.get(index, lambda index=index: {"x": np.full(10, index)})
    assert [int(spool.get(i, dict)["x"][0]) for i in (1, 2, 3)] == [1, 2, 3]


def test_what_does_not_fit_is_made_again() -> None:
    made = []
    with Spool(limit_bytes=100) as spool:
        for _ in range(2):
            spool.get(0, lambda: made.append(1) or {"x": np.zeros(200, np.uint8)})
    assert len(made) == 2
