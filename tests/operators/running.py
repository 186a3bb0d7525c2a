"""Run a case in ONNX Runtime, and through the front half of the line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import onnx
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    NotImplemented,
    RuntimeException,
)

from qhal.ir.graph import Array
from tests.core.ir.importing import run
from tests.operators.cases import CASES, Case

_WITHOUT_KERNEL = frozenset({"RoiAlign", "GlobalLpPool", "MaxRoiPool"})
"""Operators whose newest version ONNX Runtime does not run; the version before means the same."""

_OLDER = 21

_REFUSALS = (Fail, InvalidArgument, InvalidGraph, NotImplemented, RuntimeException)


@cache
def by_kind() -> Mapping[str, tuple[Case, ...]]:
    """All cases, by operator."""
    found: dict[str, list[Case]] = defaultdict(list)
    for case in CASES:
        found[case.kind].append(case)
    return {kind: tuple(cases) for kind, cases in found.items()}


def some(cases: Sequence[Case], count: int, whole: bool) -> tuple[Case, ...]:
    """A number of cases, evenly spread; all of them if asked for."""
    step = 1 if whole else -(-len(cases) // count)
    return tuple(cases[::step])


def newest(case: Case) -> int:
    """The newest opset of a case that ONNX Runtime runs."""
    return min(case.until, _OLDER) if case.kind in _WITHOUT_KERNEL else case.until


def first(case: Case) -> dict[str, Array]:
    """The first sample of a case."""
    return {name: np.asarray(values[0]) for name, values in case.data().items()}


def expected(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array] | None:
    """What ONNX Runtime computes; None if it refuses the model."""
    try:
        return list(run(model.SerializeToString(), feeds))
    except _REFUSALS:
        return None


def close(wanted: Array, found: Array, tolerance: float = 1e-4) -> bool:
    """Whether two results are the same but for the rounding of float32."""
    if wanted.shape != found.shape or wanted.dtype != found.dtype:
        return False
    if wanted.dtype.kind != "f":
        return bool(np.array_equal(wanted, found))
    largest = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0))
    return np.allclose(found, wanted, rtol=tolerance, atol=tolerance * largest, equal_nan=True)
