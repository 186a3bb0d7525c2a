"""Latency of several artifacts on this host, interleaved so that drift hits all alike."""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns
from typing import TypeVar

WINDOWS = 7
MAX_RUNS_PER_WINDOW = 200
_WARM_UP_RUNS = 3
_WARM_UP_SHARE = 0.1

Run = Callable[[], object]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Timing:
    """The run times of one artifact.

    Attributes:
        windows_ns: per window, the time of each run.
    """

    windows_ns: tuple[tuple[int, ...], ...]

    @property
    def runs(self) -> int:
        """Number of timed runs."""
        return sum(map(len, self.windows_ns))

    @property
    def p50_ns(self) -> float:
        """Median over all runs."""
        return float(median(self._sorted_ns))

    @property
    def p90_ns(self) -> float:
        """90th percentile over all runs (nearest rank)."""
        ordered = self._sorted_ns
        return float(ordered[-(-9 * len(ordered) // 10) - 1])

    @property
    def min_ns(self) -> float:
        """The fastest run."""
        return float(self._sorted_ns[0])

    @property
    def medians_ns(self) -> tuple[float, ...]:
        """Median of each window."""
        return tuple(float(median(window)) for window in self.windows_ns)

    @property
    def _sorted_ns(self) -> list[int]:
        return sorted(time for window in self.windows_ns for time in window)


def speedup(slow: Timing, fast: Timing) -> tuple[float, float, float]:
    """Return the ratio of the medians, with the smallest and largest ratio of any window."""
    pairs = zip(slow.medians_ns, fast.medians_ns, strict=True)
    ratios = [a / b for a, b in pairs]
    whole = slow.p50_ns / fast.p50_ns
    return whole, min(*ratios, whole), max(*ratios, whole)


def interleave(
    runs: Mapping[Key, Run], *, windows: int = WINDOWS, budget_s: float = 2.0
) -> dict[Key, Timing]:
    """Time several functions in turn.

    Each window times every function some runs in a row; the order turns around from window to
    window. The number of runs is chosen so that all of it takes about ``budget_s``, but every
    function runs at least once per window.
    """
    single_ns = {name: _warm_up(run, budget_s * _WARM_UP_SHARE) for name, run in runs.items()}
    round_ns = max(1, sum(single_ns.values()))
    count = int(budget_s * (1 - _WARM_UP_SHARE) * 1e9 / (windows * round_ns))
    count = max(1, min(MAX_RUNS_PER_WINDOW, count))
    times: dict[Key, list[tuple[int, ...]]] = {name: [] for name in runs}
    with _no_garbage_collection():
        for window in range(windows):
            order = list(runs)[:: 1 if window % 2 == 0 else -1]
            for name in order:
                times[name].append(_window(runs[name], count))
    return {name: Timing(tuple(found)) for name, found in times.items()}


def _warm_up(run: Run, budget_s: float) -> int:
    """Run until caches and clocks have settled; return the time of the last run in ns."""
    began, last = perf_counter_ns(), 0
    for _ in range(_WARM_UP_RUNS):
        last = _time(run)
        if perf_counter_ns() - began > budget_s * 1e9:
            break
    return last


def _window(run: Run, count: int) -> tuple[int, ...]:
    run()  # the other artifact has just emptied the caches
    return tuple(_time(run) for _ in range(count))


def _time(run: Run) -> int:
    began = perf_counter_ns()
    run()
    return perf_counter_ns() - began


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
