"""Integers that a spec allows, and rows that cannot be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qhal.errors import PluginError
from qhal.ir.dtypes import DType
from qhal.quant.arithmetic import quantize, weight_params
from qhal.targets.capability import KernelRow
from qhal.targets.spec import FLOAT, PerAxis, QuantSpec

WEIGHT = QuantSpec(DType.INT8, PerAxis(), symmetric=True, narrow_range=True)
UINT8 = QuantSpec(DType.UINT8)


@pytest.mark.parametrize(
    ("spec", "qmin", "qmax", "text"),
    [
        (WEIGHT, -127, 127, "int8"),
        (UINT8, 0, 255, "uint8"),
        (replace(WEIGHT, bits=7), -63, 63, "int8 of 7 bits"),
        (replace(WEIGHT, bits=2, narrow_range=False), -2, 1, "int8 of 2 bits"),
    ],
)
def test_integers_in_use(spec: QuantSpec, qmin: int, qmax: int, text: str) -> None:
    assert (spec.qmin, spec.qmax, str(spec)) == (qmin, qmax, text)


@given(hnp.arrays(np.float32, (3, 8), elements=st.floats(-100, 100, width=32)), st.integers(2, 7))
def test_weights_stay_within_their_bits(weight: np.ndarray, bits: int) -> None:
    spec = replace(WEIGHT, bits=bits)
    params = weight_params(weight, spec)
    stored = quantize(weight, params)
    assert stored.dtype == np.int8
    assert np.abs(stored.astype(int)).max() <= spec.qmax
    error = np.abs(stored.astype(int) * params.scale[:, None] - weight)
    assert np.all(error <= params.scale[:, None] * 0.5001 + 1e-30)


@pytest.mark.parametrize(
    "row",
    [
        {"activation": replace(WEIGHT, bits=7), "weight": WEIGHT},
        {"activation": UINT8, "weight": replace(WEIGHT, bits=8)},
        {"activation": UINT8, "weight": replace(WEIGHT, bits=1)},
        {"activation": UINT8, "weight": replace(WEIGHT, symmetric=False, bits=7)},
        {"activation": UINT8, "weight": QuantSpec(DType.UINT8, symmetric=True, bits=7)},
        {"activation": FLOAT, "weight": QuantSpec(DType.NF4, symmetric=True, bits=3)},
        {"activation": UINT8, "weight": WEIGHT, "output": replace(WEIGHT, bits=7)},
    ],
)
def test_a_part_of_the_bits_is_for_symmetric_weights(row: dict[str, Any]) -> None:
    with pytest.raises(PluginError, match="may use fewer bits"):
        KernelRow(**{"output": FLOAT, **row})
