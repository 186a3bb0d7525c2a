"""Measurement: latency, memory, size and bits of the artifact and of its float counterpart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from qhal.adapter import Adapter, Subject
from qhal.decisions import Code, Decision, Severity
from qhal.host import load_average, usable_cores
from qhal.ir.graph import Array
from qhal.measure.counted import bits, sizes
from qhal.measure.latency import Timing, interleave, speedup
from qhal.measure.memory import peak_memory
from qhal.measure.modelled import target_latency
from qhal.metric import Basis, Metric
from qhal.plugin.backend import Findings, Runner, RunOptions, Trial
from qhal.progress import SILENT, Progress

__all__ = ["Measurement", "measure"]

Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Measurement:
    """What was measured, counted and modelled.

    Attributes:
        metrics: name -> number.
        decisions: warnings about them.
    """

    metrics: Mapping[str, Metric]
    decisions: tuple[Decision, ...] = ()


def measure(
    subject: Subject,
    baseline: Subject | None,
    sample: Arrays,
    *,
    model_bytes: int,
    threads: int = 1,
    budget_s: float = 2.0,
    memory: bool = True,
    progress: Progress = SILENT,
) -> Measurement:
    """Measure an artifact beside its float counterpart.

    Args:
        subject: the quantized artifact.
        baseline: the float artifact of the same backend, or None where there is none.
        sample: one sample of the user's inputs.
        model_bytes: size of the user's model file.
        threads: threads of the runtime.
        budget_s: about how long the clock runs, over all.
        memory: also measure peak memory, in a process of its own for each artifact.
        progress: who shows it.
    """
    subjects = {"": subject} if baseline is None else {"": subject, "float": baseline}
    with progress.step("measure"):
        clocked = _clock(subjects, sample, threads, budget_s, memory)
    with progress.step("examine"):
        found = _examine(subject, baseline, sample)
    metrics = {
        **target_latency(subject.model, subject.profile),
        **clocked.metrics,
        **sizes(subject.artifact, None if baseline is None else baseline.artifact, model_bytes),
        **bits(subject.model),
        **found.metrics,
    }
    return Measurement(metrics, (*clocked.decisions, *found.decisions))


def _examine(subject: Subject, baseline: Subject | None, sample: Arrays) -> Findings:
    """What the backend itself can find out."""
    reference = None if baseline is None else _trial(baseline, sample)
    return subject.backend.examine(_trial(subject, sample), reference, subject.profile)


def _trial(subject: Subject, sample: Arrays) -> Trial:
    return Trial(subject.artifact, Adapter(subject.model).to_artifact(sample))


def _clock(
    subjects: Mapping[str, Subject], sample: Arrays, threads: int, budget_s: float, memory: bool
) -> Measurement:
    """What only a run on this host can tell; nothing where the artifact does not run here."""
    runners = {tag: s.load(RunOptions(threads=threads)) for tag, s in subjects.items()}
    loaded = {tag: runner for tag, runner in runners.items() if runner is not None}
    if "" not in loaded:
        return Measurement({})
    inputs = {tag: Adapter(subjects[tag].model).to_artifact(sample) for tag in loaded}
    load = load_average()
    timings = interleave({t: _bound(r, inputs[t]) for t, r in loaded.items()}, budget_s=budget_s)
    metrics = _latency(timings, threads, load)
    if memory:
        metrics.update(_memory({tag: subjects[tag] for tag in loaded}, inputs))
    return Measurement(metrics, _decisions(timings))


def _bound(runner: Runner, inputs: Arrays) -> Callable[[], object]:
    return lambda: runner.run(inputs)


def _latency(timings: Mapping[str, Timing], threads: int, load: float | None) -> dict[str, Metric]:
    """Host latencies of all artifacts, and the speed-up if there are two."""
    found = {}
    for tag, timing in timings.items():
        name = f"latency_host_{tag}_" if tag else "latency_host_"
        note = _conditions(timing, threads, load)
        medians = timing.medians_ns
        host = Basis.MEASURED_HOST
        p50 = Metric(timing.p50_ns, "ns", host, min(medians), max(medians), note)
        found[f"{name}p50"] = p50
        found[f"{name}p90"] = Metric(timing.p90_ns, "ns", host)
        found[f"{name}min"] = Metric(timing.min_ns, "ns", host)
    if "float" in timings:
        value, low, high = speedup(timings["float"], timings[""])
        note = "float p50 over quantized p50, same runtime; band over the windows"
        found["speedup_host"] = Metric(value, "ratio", Basis.MEASURED_HOST, low, high, note)
    return found


def _conditions(timing: Timing, threads: int, load: float | None) -> str:
    parts = [
        f"{threads} thread" + ("s" if threads > 1 else ""),
        f"{timing.runs} runs in {len(timing.windows_ns)} windows",
    ]
    if load is not None:
        busy = f", more than the host's {usable_cores()} cores" if load > usable_cores() else ""
        parts.append(f"load {load:g}{busy}")
    return ", ".join(parts)


def _decisions(timings: Mapping[str, Timing]) -> tuple[Decision, ...]:
    if "float" not in timings:
        return ()
    value, low, high = speedup(timings["float"], timings[""])
    if value >= 1:
        return ()
    sentence = (
        f"On this host the quantized artifact takes {1 / value:.2f} times as long as the float "
        f"one (speed-up {low:.2f}x to {high:.2f}x over the windows)."
    )
    return (Decision(Code.NOT_FASTER, sentence, severity=Severity.WARNING),)


def _memory(subjects: Mapping[str, Subject], inputs: Mapping[str, Arrays]) -> dict[str, Metric]:
    """Peak memory of every artifact; the child processes run side by side."""
    with ThreadPoolExecutor(len(subjects)) as pool:
        peaks = pool.map(lambda tag: peak_memory(subjects[tag], inputs[tag]), subjects)
    names = ("peak_memory_float" if tag else "peak_memory" for tag in subjects)
    return {name: peak for name, peak in zip(names, peaks, strict=True) if peak is not None}
