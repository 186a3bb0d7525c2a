"""An artifact is timed, counted and examined beside its float counterpart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qhal.artifact.runnable import Subject
from qhal.decisions import Decision
from qhal.ir.graph import Arrays
from qhal.measure.counted import bits, sizes
from qhal.measure.memory import Peaks, peak_memories
from qhal.measure.modeled import target_latency
from qhal.measure.timing import Pair, clock
from qhal.metric import Metric
from qhal.progress import SILENT, Progress


@dataclass(frozen=True)
class Measurement:
    """What was measured, counted and modeled.

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
    pair = Pair(subject, baseline, sample)
    with progress.stage("measure"):
        (clocked,) = clock([pair], threads=threads, budget_s=budget_s)
        peaks = peak_memories(pair, clocked) if memory else Peaks()
    with progress.stage("examine"):
        found = pair.examine()
    metrics = {
        **target_latency(subject.model, subject.profile),
        **clocked.metrics,
        **peaks.metrics,
        **sizes(subject.artifact, None if baseline is None else baseline.artifact, model_bytes),
        **bits(subject.model),
        **found.metrics,
    }
    return Measurement(metrics, (*clocked.decisions, *peaks.decisions, *found.decisions))
