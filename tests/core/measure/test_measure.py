"""Measured, counted and modeled figures of the toy."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qhal.artifact.ports import Adapter
from qhal.artifact.runnable import Subject
from qhal.decisions import Code, Decision
from qhal.ir.graph import Array
from qhal.measure.energy import DRAM_PJ_PER_BYTE, energy, lower_bound_pj
from qhal.measure.latency import Timing
from qhal.measure.measurement import Measurement, measure
from qhal.measure.memory import UnmeasuredError, peak_memories, peak_memory
from qhal.measure.modeled import Work, latency_range_ns, target_latency
from qhal.measure.timing import Clocked, Pair
from qhal.metric import Basis, Metric
from qhal.plugin.backend import Findings, Trial
from qhal.plugin.registry import registry
from qhal.quant.model import QuantModel
from qhal.targets import catalog
from qhal.targets.profile import Sourced, TargetProfile
from tests.core.conftest import Toys
from tests.core.system.waiting import is_alive, wait_until
from tests.paths import PATH, ROOT


def _profile(options: dict[str, str] | None = None, **facts: float) -> TargetProfile:
    sourced = {key: Sourced(value, "", "a book") for key, value in facts.items()}
    return TargetProfile("npu", "toy", "An NPU", facts=sourced, options=options or {})


def _measure(toys: Toys, **backend: Any) -> Measurement:
    return measure(
        toys.subject(toys.model, **backend),
        toys.subject(toys.baseline, **backend),
        toys.samples().sample(0),
        model_bytes=1000,
        budget_s=0.05,
    )


def test_latency_of_both_is_measured_on_the_host(toys: Toys) -> None:
    metrics = _measure(toys).metrics
    for name in ("latency_host_p50", "latency_host_float_p90", "latency_host_min", "speedup_host"):
        assert metrics[name].basis is Basis.MEASURED_HOST
    p50 = metrics["latency_host_p50"]
    assert p50.low is not None
    assert p50.high is not None
    assert p50.low <= p50.value <= p50.high
    assert "1 thread, " in p50.note
    assert "windows" in p50.note
    ratio = metrics["latency_host_float_p50"].value / p50.value
    assert metrics["speedup_host"].value == pytest.approx(ratio)


def test_counted_figures(toys: Toys) -> None:
    metrics = _measure(toys).metrics
    assert metrics["size_artifact"].value == 12 + 3 * 4 + 2
    assert metrics["size_ratio"].value == pytest.approx((48 + 12 + 2) / 26)
    assert metrics["size_model"].value == 1000
    assert metrics["macs"].value == 12
    assert metrics["stored_bits_per_weight"].value == 8
    assert metrics["compute_bits"].value == 8
    assert "100.0 % int8" in metrics["compute_bits"].note


def test_without_a_runtime_only_the_counted_figures_are_there(toys: Toys) -> None:
    found = _measure(toys, missing="no runtime")
    assert not [name for name in found.metrics if name.startswith(("latency", "peak"))]
    assert "macs" in found.metrics


def test_a_slow_quantized_artifact_is_a_warning(toys: Toys) -> None:
    import time

    def wait(array: Array) -> Array:
        time.sleep(0.002)
        return array

    found = measure(
        toys.subject(toys.model, spoil=wait),
        toys.subject(toys.baseline),
        toys.samples().sample(0),
        model_bytes=1,
        budget_s=0.05,
    )
    assert Code.NOT_FASTER in {d.code for d in found.decisions}


def test_modeled_latency_by_hand(toys: Toys) -> None:
    profile = _profile(
        sustained_low_ops_per_s=1e9,
        sustained_high_ops_per_s=2e9,
        invocation_s=1e-6,
        input_bytes_per_s=4e6,
        weights_low_bytes_per_s=1e6,
        weights_high_bytes_per_s=2e6,
        parameter_cache_low_bytes=10,
        parameter_cache_high_bytes=1000,
    )
    latency = target_latency(toys.integer_model, profile)["latency"]
    assert latency.basis is Basis.MODELED
    assert latency.low is not None
    assert latency.high is not None
    # 24 operations; 4 input bytes at 4 MB/s; 24 bytes of constants, 14 of them beyond 10.
    assert latency.low == pytest.approx(1000 + 1000 + 12)
    assert latency.high == pytest.approx(1000 + 1000 + 24 + 14_000)
    assert latency.value == pytest.approx((latency.low + latency.high) / 2)


# coral.ai/docs/edgetpu/benchmarks, USB accelerator; multiply-accumulates and parameters from the
# networks' papers, ResNet-50 scaled from 224 to 299.
_PUBLISHED = {
    "MobileNet v1": (2.4, 569e6, 4.2e6, 224),
    "MobileNet v2": (2.6, 300e6, 3.5e6, 224),
    "SqueezeNet 1.0": (2.1, 833e6, 1.25e6, 224),
    "ResNet-50": (49, 7.3e9, 25.6e6, 299),
    "VGG16": (296, 15.5e9, 138.4e6, 224),
}


@pytest.mark.parametrize("name", _PUBLISHED)
def test_the_edge_tpus_range_holds_what_its_maker_measured(name: str) -> None:
    measured_ms, macs, parameters, size = _PUBLISHED[name]
    work = Work(int(2 * macs), 3 * size * size, int(parameters))
    found = latency_range_ns(work, catalog.builtin()["edgetpu"])
    assert found is not None
    low_ns, high_ns = found
    assert 0.98 * low_ns <= measured_ms * 1e6 <= 1.02 * high_ns
    assert high_ns < 4 * low_ns


def test_without_figures_nothing_is_modeled(toys: Toys) -> None:
    assert target_latency(toys.model, _profile(sustained_low_ops_per_s=1e9)) == {}


def test_the_lower_bound_by_hand(toys: Toys) -> None:
    low, high = lower_bound_pj(toys.integer_model)
    # 24 bytes of constants, 4 of input, 3 of output; 12 multiply-accumulates.
    assert low == pytest.approx(31 * DRAM_PJ_PER_BYTE[0] + 12 * 0.3)
    assert high == pytest.approx(31 * DRAM_PJ_PER_BYTE[1] + 12 * 0.3)
    float_low, _ = lower_bound_pj(toys.baseline)
    assert float_low == pytest.approx((60 + 16 + 12) * DRAM_PJ_PER_BYTE[0] + 12 * 4.6)


def test_lower_bounds_are_modeled_and_have_a_ratio(toys: Toys) -> None:
    metrics = energy(toys.integer_model, toys.baseline, _profile(), {}).metrics
    names = {"energy_lower_bound", "energy_lower_bound_float", "energy_lower_bound_ratio"}
    assert set(metrics) == names
    assert {m.basis for m in metrics.values()} == {Basis.MODELED}
    assert 2 < metrics["energy_lower_bound_ratio"].value < 4
    assert "to compare two artifacts" in metrics["energy_lower_bound"].note


def test_no_power_no_proxy(toys: Toys) -> None:
    found = energy(toys.model, None, _profile(), {})
    assert [d.code for d in found.decisions] == [Code.ENERGY_UNAVAILABLE]
    assert "energy_proxy" not in found.metrics


def test_the_proxy_takes_the_modeled_latency(toys: Toys) -> None:
    latency = Metric(2e6, "ns", Basis.MODELED, 1e6, 3e6)
    host = Metric(9e6, "ns", Basis.MEASURED_HOST)
    given = {"latency": latency, "latency_host_p50": host}
    found = energy(toys.model, None, _profile(active_power_w=2.0), given)
    proxy = found.metrics["energy_proxy"]
    assert (proxy.value, proxy.low, proxy.high) == (4e9, 2e9, 6e9)  # 2 W x 2 ms = 4 mJ
    assert str(proxy) == "4 mJ (modeled, 2 to 6 mJ)"


def test_the_hosts_latency_counts_only_where_the_host_is_the_target(toys: Toys) -> None:
    given = {
        "latency_host_p50": Metric(1e6, "ns", Basis.MEASURED_HOST, 1e6, 2e6),
        "latency_host_float_p50": Metric(4e6, "ns", Basis.MEASURED_HOST),
    }
    other = energy(toys.model, None, _profile(active_power_w=5.0), given)
    assert "energy_proxy" not in other.metrics
    assert other.decisions[0].code is Code.ENERGY_UNAVAILABLE
    here = energy(toys.model, None, _profile({"runs_on": "host"}, active_power_w=5.0), given)
    assert here.metrics["energy_proxy"].value == pytest.approx(5e9)
    assert here.metrics["energy_proxy_float"].value == pytest.approx(20e9)


def test_sample_types_follow_the_artifact(toys: Toys) -> None:
    found = measure(
        toys.subject(toys.integer_model),
        None,
        {"x": np.zeros((1, 4), np.float32)},
        model_bytes=1,
        budget_s=0.02,
        memory=False,
    )
    assert "latency_host_p50" in found.metrics
    assert "speedup_host" not in found.metrics


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux only")
def test_peak_memory_is_that_of_a_fresh_process(toys: Toys) -> None:
    backend, profile = registry().resolve("cpu")
    model = QuantModel(toys.float_graph)
    artifact = backend.lower(model, profile)
    subject = Subject(artifact, backend, profile, Adapter.of_model(model), model)
    peak = peak_memory(subject, {"x": np.zeros((1, 4), np.float32)})
    assert 20e6 < peak.value < 500e6
    assert peak.basis is Basis.MEASURED_HOST


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux only")
def test_peak_memory_of_a_backend_that_is_not_installed(
    toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child takes the backend that was handed in, and asks no registry."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
    subject = toys.subject(toys.model)
    assert "toy" not in registry().backends
    assert peak_memory(subject, toys.samples().sample(0)).value > 20e6


def spoilt(array: Array) -> Array:
    raise ValueError("in the child")


def test_where_peak_memory_is_not_measured_a_decision_says_why(
    toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def why(**backend: Any) -> str:
        pair = Pair(toys.subject(toys.model, **backend), None, toys.samples().sample(0))
        found = peak_memories(pair, Clocked(Timing(((1,),))))
        assert found.metrics == {}
        [decision] = found.decisions
        assert decision.code is Code.MEMORY_UNMEASURED
        return decision.sentence

    assert why(spoil=lambda array: array).startswith(
        "Peak memory was not measured: the backend 'toy' cannot be sent to another process: "
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
    assert why(spoil=spoilt) == (
        "Peak memory was not measured: The backend 'toy' broke in run: ValueError: in the child."
    )


def test_what_keeps_a_child_from_its_files_is_not_called_a_want_of_processes(
    toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = toys.samples().sample(0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))
    try:
        with pytest.raises(UnmeasuredError, match="files for another process cannot be written"):
            peak_memory(toys.subject(toys.model), sample)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(UnmeasuredError, match=r"^Cannot create a temporary folder: No such file"):
        peak_memory(toys.subject(toys.model), sample)


def test_the_backend_adds_what_only_it_can_find_out(
    toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, baseline = toys.subject(toys.model), toys.subject(toys.baseline)
    note = Decision(Code.NOT_EMULATED, "No emulator.")

    def examine(quantized: Trial, reference: Trial | None, target: TargetProfile) -> Findings:
        assert quantized.artifact is subject.artifact
        assert reference is not None
        assert reference.artifact is baseline.artifact
        assert set(quantized.inputs) == set(subject.graph.inputs)
        return Findings({"steps": Metric(7, "count", Basis.COUNTED_EMULATED)}, (note,))

    monkeypatch.setattr(subject.backend, "examine", examine)
    sample = toys.samples().sample(0)
    found = measure(subject, baseline, sample, model_bytes=1, budget_s=0.02, memory=False)
    assert found.metrics["steps"].value == 7
    assert note in found.decisions


SLOW = """
import os, time
from pathlib import Path
path = Path(os.environ["SLOW_IMPORT"])
path.with_suffix(".new").write_text(str(os.getpid()))
path.with_suffix(".new").rename(path)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children")
def test_a_child_that_still_imports_ends_with_its_parent(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text(SLOW)
    pid = tmp_path / "pid"
    starts = (
        "import os, subprocess, sys; subprocess.run([sys.executable, '-P', '-m', "
        f"'qhal.measure.child', {str(tmp_path)!r}, str(os.getpid())])"
    )
    path = os.pathsep.join((str(tmp_path), PATH))
    environment = {**os.environ, "PYTHONPATH": path, "SLOW_IMPORT": str(pid)}
    with subprocess.Popen([sys.executable, "-P", "-c", starts], env=environment) as parent:
        try:
            wait_until(pid.exists, parent)
        finally:
            parent.kill()
    number, deadline = int(pid.read_text()), time.monotonic() + 30
    try:
        while is_alive(number):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        if is_alive(number):
            os.kill(number, signal.SIGKILL)
