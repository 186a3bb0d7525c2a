"""Interleaved timing."""

from __future__ import annotations

import time

import pytest

from qhal.measure.latency import Timing, interleave, speedup


def test_quantiles() -> None:
    timing = Timing(((5, 1, 3), (2, 4, 100)))
    assert (timing.p50_ns, timing.p90_ns, timing.min_ns, timing.runs) == (3.5, 100, 1, 6)
    assert timing.medians_ns == (3, 4)
    assert Timing((tuple(range(1, 11)),)).p90_ns == 9


def test_speedup_has_the_spread_of_the_windows() -> None:
    slow, fast = Timing(((10,), (30,), (20,))), Timing(((10,), (10,), (10,)))
    assert speedup(slow, fast) == (2, 1, 3)


def test_windows_alternate() -> None:
    order: list[str] = []

    def run(name: str, seconds: float) -> None:
        order.append(name)
        time.sleep(seconds)

    found = interleave(
        {"a": lambda: run("a", 0.001), "b": lambda: run("b", 0.002)}, windows=5, budget_s=0.2
    )
    assert len(found["a"].windows_ns) == len(found["b"].windows_ns) == 5
    changes = [x for i, x in enumerate(order) if i == 0 or x != order[i - 1]]
    # Warm-up a b, then a b | b a | a b | b a | a b, where equal neighbors merge.
    assert changes == ["a", "b"] * 4


def test_a_slow_function_runs_once_per_window() -> None:
    found = interleave({"a": lambda: time.sleep(0.02)}, windows=5, budget_s=0.01)
    assert found["a"].runs == 5
    assert found["a"].p50_ns == pytest.approx(0.02e9, rel=0.5)
