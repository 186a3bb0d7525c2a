"""Whole integer models of another converter, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qhal.quant.oracle import Oracle
from tests.core.quant.oracle.oracle_litert import run
from tests.core.quant.oracle.oracle_reader import read


@pytest.mark.parametrize("name", ["ad", "ic", "kws", "vww"])
def test_mlperf_tiny(zoo: Path, name: str) -> None:
    content = (zoo / "reference" / f"mlperf_tiny_{name}_int8.tflite").read_bytes()
    model = read(content)
    oracle, graph = Oracle(model), model.graph
    rng = np.random.default_rng(3)
    for low, high in ((-128, 128), (-20, 40)):
        x = rng.integers(low, high, graph.tensors[graph.inputs[0]].shape).astype(np.int8)
        theirs = run_first(content, x)
        assert np.array_equal(oracle.run({graph.inputs[0]: x})[graph.outputs[0]], theirs)


def run_first(content: bytes, x: np.ndarray) -> np.ndarray:
    class Any(dict[str, np.ndarray]):
        def __missing__(self, name: str) -> np.ndarray:
            return x

    return run(content, Any())[0]
