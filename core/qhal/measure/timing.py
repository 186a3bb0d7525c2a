"""Time artifacts on this host, all in turn, so that any two of them can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qhal.artifact.runnable import Runnable, run_raw
from qhal.decisions import Code, Decision, Severity
from qhal.host import load_average, usable_cores
from qhal.ir.graph import Arrays
from qhal.measure.latency import Run, Timing, interleave, speedup
from qhal.metric import Basis, Metric
from qhal.plugin.backend import Backend, Findings, Runner, RunOptions
from qhal.plugin.calls import call
from qhal.system.trail import Kind, doing


@dataclass(frozen=True, eq=False)
class Pair:
    """An artifact and its float counterpart, to be measured on the same sample.

    Attributes:
        subject: the quantized artifact.
        baseline: the float artifact of the same backend, or None where there is none.
        sample: one sample of the user's inputs.
    """

    subject: Runnable
    baseline: Runnable | None
    sample: Arrays

    def examine(self) -> Findings:
        """Return what the backend itself can find out."""
        baseline = None if self.baseline is None else self.baseline.trial(self.sample)
        subject = self.subject.trial(self.sample)
        provided, profile = self.subject.provided, self.subject.profile
        words = f"the {provided.name} examined {self.subject.path}{self.subject.contents}"
        with doing(Kind.ARTIFACT, words):
            return call(provided, Backend.examine, subject, baseline, profile)


@dataclass(frozen=True)
class Clocked:
    """The run times of a pair.

    Attributes:
        subject: None where the artifact does not run here; then nothing else is timed.
        baseline: None where there is none, or it does not run here.
        runtime: name and version of what ran the artifact; empty if nothing did.
        threads: of the runtime.
        load: of the host before the clock ran; None where the system does not say.
    """

    subject: Timing | None = None
    baseline: Timing | None = None
    runtime: str = ""
    threads: int = 1
    load: float | None = None

    @property
    def metrics(self) -> dict[str, Metric]:
        """Host latencies, and the speed-up if there are two."""
        found: dict[str, Metric] = {}
        if self.subject is not None:
            found.update(self._latency("latency_host_", self.subject))
        if self.baseline is not None:
            found.update(self._latency("latency_host_float_", self.baseline))
        if self.subject is not None and self.baseline is not None:
            note = "float p50 over quantized p50, same runtime; band over the windows"
            found["speedup_host"] = ratio(self.baseline, self.subject, note)
        return found

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """A warning where quantization does not make it faster."""
        if self.subject is None or self.baseline is None:
            return ()
        value, low, high = speedup(self.baseline, self.subject)
        if value >= 1:
            return ()
        sentence = (
            f"On this host the quantized artifact takes {1 / value:.2f} times as long as the "
            f"float one (speed-up {low:.2f}x to {high:.2f}x over the windows)."
        )
        return (Decision(Code.NOT_FASTER, sentence, severity=Severity.WARNING),)

    def _latency(self, prefix: str, timing: Timing) -> dict[str, Metric]:
        medians, host = timing.medians_ns, Basis.MEASURED_HOST
        low, high, note = min(medians), max(medians), self._conditions(timing)
        return {
            f"{prefix}p50": Metric(timing.p50_ns, "ns", host, low, high, note),
            f"{prefix}p90": Metric(timing.p90_ns, "ns", host),
            f"{prefix}min": Metric(timing.min_ns, "ns", host),
        }

    def _conditions(self, timing: Timing) -> str:
        parts = [
            f"{self.threads} thread" + ("s" if self.threads > 1 else ""),
            f"{timing.runs} runs in {len(timing.windows_ns)} windows",
        ]
        if self.load is not None:
            crowded = self.load > usable_cores()
            busy = f", more than the host's {usable_cores()} cores" if crowded else ""
            parts.append(f"load {self.load:g}{busy}")
        return ", ".join(parts)


def ratio(slow: Timing, fast: Timing, note: str) -> Metric:
    """Return how many times as fast one artifact is as another that was timed in turn with it."""
    value, low, high = speedup(slow, fast)
    return Metric(value, "ratio", Basis.MEASURED_HOST, low, high, note)


def clock(pairs: Sequence[Pair], *, threads: int, budget_s: float) -> tuple[Clocked, ...]:
    """Run what runs on this host, all of it in turn.

    Args:
        pairs: what to run.
        threads: threads of the runtimes.
        budget_s: about how long the clock runs, over all.

    Raises:
        VerificationError: an artifact does not load or does not run.
    """
    options = RunOptions(threads=threads)
    loaded = [_load(pair, options) for pair in pairs]
    load = load_average()
    runs = {
        (index, place): _bound(runner, runnable, pairs[index].sample)
        for index, found in enumerate(loaded)
        for place, (runnable, runner) in enumerate(found)
    }
    names = {f"{runner.runtime} ran {r.path}" for found in loaded for r, runner in found}
    with doing(Kind.ARTIFACT, f"the clock ran and {' or '.join(sorted(names))}"):
        timings = interleave(runs, budget_s=budget_s)
    return tuple(
        Clocked(
            timings.get((index, 0)),
            timings.get((index, 1)),
            found[0][1].runtime if found else "",
            threads,
            load,
        )
        for index, found in enumerate(loaded)
    )


def _load(pair: Pair, options: RunOptions) -> list[tuple[Runnable, Runner]]:
    """Load the artifact and, if it runs here too, the float one; empty if the artifact does not."""
    found = []
    for runnable in filter(None, (pair.subject, pair.baseline)):
        runner = runnable.load(options)
        if runner is None:
            break
        found.append((runnable, runner))
    return found


def _bound(runner: Runner, runnable: Runnable, sample: Arrays) -> Run:
    """Make a call that is timed, after looking at the first one."""
    inputs = runnable.adapter.to_artifact(sample)
    run_raw(runner, runnable, inputs)
    return lambda: runner.run(inputs)
