"""Several artifacts on one clock."""

from __future__ import annotations

import time

import numpy as np
import pytest

from qhal.artifact.runnable import Runnable
from qhal.errors import VerificationError
from qhal.ir.graph import Array
from qhal.measure.memory import Peaks, peak_memories
from qhal.measure.timing import Clocked, Pair, clock, ratio
from tests.core.conftest import Toys


def _slow(array: Array) -> Array:
    time.sleep(0.002)
    return array


def _pair(toys: Toys, subject: Runnable, baseline: Runnable | None = None) -> Pair:
    return Pair(subject, baseline, toys.samples().sample(0))


def _clock(*pairs: Pair) -> tuple[Clocked, ...]:
    return clock(pairs, threads=1, budget_s=0.05)


def test_every_artifact_of_every_pair_is_timed(toys: Toys) -> None:
    quick, slow = toys.subject(toys.model), toys.subject(toys.model, spoil=_slow)
    one, two = _clock(_pair(toys, quick, toys.subject(toys.baseline)), _pair(toys, slow))
    assert set(one.metrics) > {"latency_host_p50", "latency_host_float_p50", "speedup_host"}
    assert two.baseline is None
    assert not [name for name in two.metrics if "float" in name or "speedup" in name]
    assert one.runtime == two.runtime == "toy 1.0"
    assert one.subject is not None
    assert one.baseline is not None
    assert two.subject is not None
    windows = [len(timing.windows_ns) for timing in (one.subject, one.baseline, two.subject)]
    assert len(set(windows)) == 1
    times = ratio(two.subject, one.subject, "how much faster")
    assert times.value > 1
    assert times.low is not None
    assert times.high is not None
    assert times.low <= times.value <= times.high


def test_what_does_not_run_here_leaves_the_others_alone(toys: Toys) -> None:
    absent = toys.subject(toys.model, missing="no runtime")
    one, two = _clock(_pair(toys, absent, toys.subject(toys.baseline)), _pair(toys, absent))
    assert (one.subject, one.baseline, one.runtime, one.metrics) == (None, None, "", {})
    assert peak_memories(_pair(toys, absent), two) == Peaks()
    half, whole = _clock(
        _pair(toys, toys.subject(toys.model), absent), _pair(toys, toys.subject(toys.model))
    )
    assert half.subject is not None
    assert half.baseline is None
    assert whole.subject is not None


def test_an_artifact_is_looked_at_before_the_clock_runs(toys: Toys) -> None:
    broken = toys.subject(toys.model, spoil=lambda array: np.asarray(array)[:, :1])
    with pytest.raises(VerificationError, match=r"Output y of model\.toy has shape"):
        _clock(_pair(toys, toys.subject(toys.model)), _pair(toys, broken))
