"""Data movement that moves nothing goes; pads are folded."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.simplify import simplify
from tests.core.ir_graphs import SHAPE, chain, kinds, run

CONV = ops.Conv((1, 1), (0, 0, 0, 0), (1, 1))
MAX = ops.MaxPool((3, 3), (1, 1), (0, 0, 0, 0))
MEAN = ops.AveragePool((3, 3), (1, 1), (0, 0, 0, 0))
EDGES = (0, 0, 1, 1, 0, 0, 1, 0)
LOWEST = -3.4e38

CASES: list[tuple[list[ops.Op], list[str]]] = [
    ([ops.Reshape((4, 36)), ops.Reshape((144,)), ops.Reshape((12, 12))], ["Reshape"]),
    ([ops.Transpose((0, 2, 3, 1)), ops.Transpose((0, 3, 1, 2)), ops.Relu()], ["Relu"]),
    ([ops.Relu(), ops.Transpose((0, 2, 3, 1)), ops.Transpose((0, 3, 1, 2))], ["Relu"]),
    ([ops.Transpose((1, 0, 2, 3)), ops.Relu()], ["Reshape", "Relu"]),
    ([ops.Slice((0,) * 4, SHAPE, (1,) * 4), ops.Relu()], ["Relu"]),
    ([ops.Slice((0, 3, 0, 0), SHAPE, (1, -1, 1, 1)), ops.Relu()], ["Slice", "Relu"]),
    ([ops.Pad((0,) * 8), ops.Expand(SHAPE), ops.Tile((1,) * 4), ops.Relu()], ["Relu"]),
    ([ops.Reshape(SHAPE)], ["Reshape"]),
    ([ops.Cast(DType.INT8), ops.Cast(DType.INT32), ops.Cast(DType.FLOAT32)], ["Cast"] * 2),
    ([ops.Cast(DType.INT8), ops.Cast(DType.UINT8), ops.Cast(DType.FLOAT32)], ["Cast"] * 3),
    ([ops.Cast(DType.INT32), ops.Cast(DType.INT8), ops.Cast(DType.FLOAT32)], ["Cast"] * 3),
    ([ops.Pad(EDGES), CONV], ["Conv"]),
    ([ops.Pad(EDGES, value=1.0), CONV], ["Pad", "Conv"]),
    ([ops.Pad(EDGES, "reflect"), CONV], ["Pad", "Conv"]),
    ([ops.Pad((0, 1, 0, 0, 0, 0, 0, 0)), CONV], ["Pad", "Conv"]),
    ([ops.Pad(EDGES), MEAN], ["AveragePool"]),
    ([ops.Pad(EDGES), MAX], ["Pad", "MaxPool"]),
    ([ops.Relu(), ops.Pad(EDGES), MAX], ["Relu", "MaxPool"]),
    ([ops.Pad(EDGES, value=-inf), MAX], ["MaxPool"]),
    ([ops.Pad(EDGES, value=LOWEST), MAX], ["MaxPool"]),
    ([ops.Pad((0, 0, 3, 0, 0, 0, 0, 0), value=LOWEST), MAX], ["Pad", "MaxPool"]),
]


@pytest.mark.parametrize(("steps", "expected"), CASES, ids=lambda v: "-".join(map(str, v))[:50])
def test_simplify(steps: list[ops.Op], expected: list[str]) -> None:
    graph = chain(*steps)
    simple = simplify(graph)
    assert kinds(simple) == expected
    assert simple.outputs == ("y",)
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    np.testing.assert_allclose(run(simple, {"x": x})["y"], run(graph, {"x": x})["y"], rtol=1e-5)
