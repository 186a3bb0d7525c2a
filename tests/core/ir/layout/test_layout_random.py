"""The layout pass against the canonical graph, on random graphs."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qhal.ir.layout.laid_out import to_layout
from qhal.ir.ops import Layout
from qhal.ir.simplify import simplify
from tests.core.ir_graphs import RandomGraph, floats, run, run_permuted


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(random=st.randoms(use_true_random=False), steps=st.integers(1, 12), keep=st.booleans())
def test_channels_last_computes_the_same(random: Random, steps: int, keep: bool) -> None:
    graph = RandomGraph(random).grow(steps)
    laid = to_layout(graph, Layout.NHWC, keep_io=keep)
    x = {"x": floats(random, *graph.tensors["x"].shape)}
    expected, found = run(graph, x), run_permuted(laid.graph, x)
    if keep:
        assert not laid.graph.permutations
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-3, atol=2e-3)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(random=st.randoms(use_true_random=False), steps=st.integers(1, 12))
def test_simplify_computes_the_same(random: Random, steps: int) -> None:
    graph = RandomGraph(random).grow(steps)
    x = {"x": floats(random, *graph.tensors["x"].shape)}
    expected, found = run(graph, x), run(simplify(graph), x)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4)
