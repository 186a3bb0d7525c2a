"""Element types."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.errors import InternalError
from qhal.ir.dtypes import NORMAL_FLOAT, DType


def test_normal_floats_are_sixteen_rising_numbers_with_an_exact_zero() -> None:
    assert DType.NF4.codebook is NORMAL_FLOAT
    assert NORMAL_FLOAT.shape == (1 << DType.NF4.bits,)
    assert np.all(np.diff(NORMAL_FLOAT) > 0)
    assert (NORMAL_FLOAT[0], NORMAL_FLOAT[7], NORMAL_FLOAT[15]) == (-1, 0, 1)
    assert not NORMAL_FLOAT.flags.writeable


def test_only_codes_have_a_codebook() -> None:
    assert [dtype for dtype in DType if dtype.codebook is not None] == [DType.NF4]


@pytest.mark.parametrize("dtype", [DType.NF4, DType.BFLOAT16, DType.FLOAT32, DType.BOOL])
def test_what_is_no_integer_has_no_smallest_and_no_largest_one(dtype: DType) -> None:
    for end in ("qmin", "qmax"):
        with pytest.raises(InternalError, match=f"of type {dtype.value} are not integers"):
            getattr(dtype, end)


@pytest.mark.parametrize(
    ("dtype", "bits", "held"),
    [(DType.NF4, 4, "uint8"), (DType.INT4, 4, "int8"), (DType.BFLOAT16, 16, "float32")],
)
def test_types_that_numpy_lacks_are_held_in_wider_ones(dtype: DType, bits: int, held: str) -> None:
    assert (dtype.bits, dtype.numpy.name) == (bits, held)
