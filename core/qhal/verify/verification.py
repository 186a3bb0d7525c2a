"""An artifact is run beside the oracle and the user's float model, and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from qhal.artifact.runnable import Subject, run_raw
from qhal.decisions import Code, Decision, Severity
from qhal.ir.cost import macs
from qhal.ir.graph import Array, Arrays, NodeView
from qhal.metric import Basis, Metric
from qhal.plugin.backend import Runner, RunOptions
from qhal.progress import SILENT, Progress
from qhal.verify.accuracy import Accuracy, scores_output, unfit_labels
from qhal.verify.evaluation import Evaluation
from qhal.verify.finite import check_finite
from qhal.verify.loop import Feedback, LoopAccuracy
from qhal.verify.oracle_gap import OracleGap, Outputs
from qhal.verify.origin import where_it_begins, where_not_finite
from qhal.verify.suspects import MOST_SUSPECTS, Suspects

ORACLE_SAMPLES = 8
ORACLE_BUDGET_S = 8.0
"""The oracle is exact, not fast: it is given what takes about so long."""
ORACLE_MACS_PER_S = 2e9
"""Measured on one core with the models of the zoo: 1.3e9 to 1.3e10, depthwise ones slowest. No
clock decides how many samples are taken, so that two runs take the same ones."""

RUNNER_BUDGET_S = 30.0
FEWEST_SAMPLES = 32

_REFERENCE = "oracle_reference"
"""Prefix of the metrics of a runtime's reference kernels."""

_Run = Callable[[Arrays], dict[str, Array]]


@dataclass(frozen=True)
class Verification:
    """What was found out.

    Attributes:
        metrics: accuracy and the gap to the oracle.
        decisions: warnings about them.
        runtime: name and version of the runtime that ran the artifact; empty if none did.
        loop: what a model with states does in a closed loop; None for one without.
    """

    metrics: Mapping[str, Metric]
    decisions: tuple[Decision, ...] = ()
    runtime: str = ""
    loop: LoopAccuracy | None = None


def verify(
    subject: Subject,
    evaluation: Evaluation,
    *,
    samples: int | None = None,
    oracle_samples: int = ORACLE_SAMPLES,
    progress: Progress = SILENT,
) -> Verification:
    """Run the artifact on evaluation samples and compare.

    With a runtime on this machine: ``samples`` of them against the float model (None: all, or
    what a slow runtime does in about :data:`RUNNER_BUDGET_S`, which is a decision), and the
    first ``oracle_samples`` of these against the oracle, the runtime's reference kernels
    included where it has them; so are the few that look most wrong. Without one, the oracle takes
    the artifact's place, on what it does in about :data:`ORACLE_BUDGET_S`.

    Labels that cannot be the model's are left out, which is a decision: a folder of images may
    hold those of another task.

    Raises:
        VerificationError: the artifact does not load, does not run, gives NaN, or computes
            something else than the oracle.
    """
    runner = subject.load()
    if runner is None:
        return _verify_by_oracle(subject, evaluation, samples, progress)
    pace = _Pace("the runtime", subject.backend.info.runner_macs_per_s, RUNNER_BUDGET_S)
    evaluation, reduced = _affordable(subject, evaluation, samples, pace)
    suspects, whole = Suspects(), evaluation
    run = _bound(subject, runner)
    compared = _compare(subject, evaluation, run, "verify", progress, suspects)
    accuracy, metrics = compared.accuracy, compared.metrics(Basis.MEASURED_HOST)
    decisions = [
        *reduced,
        *_about_labels(subject, evaluation, accuracy),
        *compared.decisions(),
    ]
    if compared.loop is not None:  # states differ most where a sequence is long
        evaluation = evaluation.spread(oracle_samples)
    runners = _runners(subject, runner)
    gaps = _oracle_gaps(subject, evaluation, runners, oracle_samples, progress)
    subject.check_model("run")
    for prefix, gap in gaps.items():
        name, reference = runners[prefix].runtime, _excuse(prefix, gaps)
        gap.check(name, reference)
        metrics.update(gap.metrics(prefix))
        options = RunOptions(reference=prefix == _REFERENCE)
        found = partial(_origin, subject, evaluation, options)
        decisions.extend(gap.decisions(name, reference, found))
    _check_suspects(subject, whole, runners, gaps, suspects)
    return Verification(metrics, tuple(decisions), runner.runtime, compared.loop)


@dataclass(frozen=True)
class _Compared:
    """What running the samples gave.

    Attributes:
        accuracy: against the float model; in a closed loop if the model has states, which are
            then left out.
        loop: more about the closed loop; None if there is none.
    """

    accuracy: Accuracy
    loop: LoopAccuracy | None = None

    def metrics(self, basis: Basis) -> dict[str, Metric]:
        """Return everything as metrics."""
        further = {} if self.loop is None else self.loop.metrics(basis)
        return {**self.accuracy.metrics(basis), **further}

    def decisions(self) -> tuple[Decision, ...]:
        """Warn of what is far from the float model."""
        further = () if self.loop is None else self.loop.decisions()
        return (*self.accuracy.decisions(), *further)


@dataclass(frozen=True)
class _Pace:
    """About how fast samples are computed; by the model's size alone, whatever the host does.

    Attributes:
        who: computes them.
        macs_per_s: None if it is fast enough for any number of samples.
        budget_s: how long it may take.
    """

    who: str
    macs_per_s: float | None
    budget_s: float

    def sample_s(self, subject: Subject) -> float:
        """Return the time for one sample; 0 if it does not matter."""
        if self.macs_per_s is None:
            return 0.0
        graph = subject.graph
        return sum(macs(NodeView(graph, node)) for node in graph.nodes) / self.macs_per_s

    def most(self, subject: Subject, total: int, fewest: int) -> int:
        """Return how many of ``total`` samples to take: what fits, but at least ``fewest``."""
        each_s = self.sample_s(subject)
        return total if not each_s else min(total, max(fewest, int(self.budget_s / each_s)))


_ORACLE_PACE = _Pace("the oracle", ORACLE_MACS_PER_S, ORACLE_BUDGET_S)


def _affordable(
    subject: Subject, evaluation: Evaluation, asked: int | None, pace: _Pace
) -> tuple[Evaluation, list[Decision]]:
    """Choose the samples to run: those asked for, or as many as fit the time budget."""
    total = len(evaluation)
    if asked is not None:
        return evaluation.part(asked), []
    count = pace.most(subject, total, FEWEST_SAMPLES)
    if count == total:
        return evaluation, []
    how = "spread evenly" if evaluation.rollout is None else "from the beginning"
    sentence = (
        f"Accuracy was measured on {count} of {total} samples, {how}: {pace.who} takes "
        f"about {pace.sample_s(subject):.2g} s per sample. Set another number with --eval-samples."
    )
    reduced = Decision(Code.EVALUATION_REDUCED, sentence, severity=Severity.WARNING)
    return evaluation.part(count), [reduced]


def _bound(subject: Subject, runner: Runner) -> _Run:
    return lambda inputs: run_raw(runner, subject, inputs)


def _runners(subject: Subject, runner: Runner) -> dict[str, Runner]:
    """Return the runner, and one on reference kernels where the runtime has them."""
    found = {"oracle": runner}
    reference = subject.load(RunOptions(reference=True))
    if reference is not None and reference.runtime != runner.runtime:
        found[_REFERENCE] = reference
    return found


def _excuse(prefix: str, gaps: Mapping[str, OracleGap]) -> OracleGap | None:
    """Return the gap of the reference kernels, for a runner on other kernels."""
    return None if prefix == _REFERENCE else gaps.get(_REFERENCE)


def _origin(subject: Subject, evaluation: Evaluation, options: RunOptions, sample: int) -> str:
    return where_it_begins(subject, options, evaluation.sample(sample))


def _verify_by_oracle(
    subject: Subject, evaluation: Evaluation, samples: int | None, progress: Progress
) -> Verification:
    from qhal.quant.oracle import Oracle

    oracle, total = Oracle(subject.model), len(evaluation)
    evaluation, reduced = _affordable(subject, evaluation, samples, _ORACLE_PACE)
    compared = _compare(subject, evaluation, oracle.run, "verify with the oracle", progress)
    accuracy = compared.accuracy
    sentence = (
        f"The artifact was not run: {subject.why_not()}. Accuracy was measured "
        f"with the oracle on {accuracy.samples} of {total} samples; latency was not."
    )
    decision = Decision(Code.NOT_RUNNABLE, sentence, severity=Severity.WARNING)
    about = (*_about_labels(subject, evaluation, accuracy), *compared.decisions())
    decisions = (decision, *reduced, *about)
    metrics = compared.metrics(Basis.COUNTED_EMULATED)
    return Verification(metrics, decisions, loop=compared.loop)


def _unfit(subject: Subject, evaluation: Evaluation) -> str:
    labels = evaluation.labels
    return "" if labels is None else unfit_labels(subject.graph, labels, subject.model.params)


def _about_labels(subject: Subject, evaluation: Evaluation, accuracy: Accuracy) -> list[Decision]:
    scores, why = accuracy.scores, _unfit(subject, evaluation)
    if why:
        sentence = f"The labels were not used: {why}."
        return [Decision(Code.LABELS_UNUSED, sentence, severity=Severity.WARNING)]
    if not scores.label_shift:
        return []
    now, then = (100 * n / scores.top1.rows for n in (scores.top1.reference, max(scores.shifted)))
    sentence = (
        f"The float model's top-1 is {now:.1f} %, but would be {then:.1f} % with "
        f"{scores.label_shift:+d} added to all labels: see --label-offset."
    )
    return [Decision(Code.LABELS_SHIFTED, sentence, severity=Severity.WARNING)]


def _compare(
    subject: Subject,
    evaluation: Evaluation,
    run: _Run,
    title: str,
    progress: Progress,
    suspects: Suspects | None = None,
) -> _Compared:
    """Stream the samples through both models; they run side by side, one thread each.

    A model with states runs on its own states; then once more on those of the float model, which
    are the states of the suspects.
    """
    suspects = suspects or Suspects()
    name = scores_output(subject.graph, subject.model.params)
    accuracy, labels = Accuracy(name), _labels_by_sample(subject, evaluation)
    rollout, both = evaluation.rollout, partial(_both, subject, evaluation, run, progress=progress)
    if rollout is None:
        for index, expected, outputs in both(title):
            real = outputs.real
            accuracy.add(expected, real, None if labels is None else labels[index])
            suspects.add(index, expected, outputs.raw, real)
        return _Compared(accuracy)
    if name in rollout.pairs:  # a state may look like scores
        accuracy = Accuracy(None)
    loop, feedback = LoopAccuracy(rollout.pairs), Feedback(rollout)
    for index, expected, outputs in both(f"{title} in the loop", feedback):
        loop.add(rollout.begins(index), expected, outputs.real)
        real = {name: value for name, value in expected.items() if name not in rollout.pairs}
        accuracy.add(real, outputs.real, None if labels is None else labels[index])
    if (further := evaluation.further_frames()) is not None:
        _add_further(loop, subject, further, run, f"{title} in further loops", progress)
    for index, expected, outputs in both(title):
        loop.add_open(expected, outputs.real)
        suspects.add(index, expected, outputs.raw, outputs.real)
    return _Compared(accuracy, loop)


def _add_further(
    loop: LoopAccuracy,
    subject: Subject,
    further: Evaluation,
    run: _Run,
    title: str,
    progress: Progress,
) -> None:
    """Run the closed loop over the sequences of calibration, too."""
    if (rollout := further.rollout) is None:
        return
    feedback = Feedback(rollout)
    for index, expected, outputs in _both(
        subject, further, run, title, feedback, progress=progress
    ):
        loop.add_further(rollout.begins(index), expected, outputs.real)


def _both(
    subject: Subject,
    evaluation: Evaluation,
    run: _Run,
    title: str,
    feedback: Feedback | None = None,
    *,
    progress: Progress,
) -> Iterator[tuple[int, Arrays, Outputs]]:
    """Yield the number of each sample, the float model's outputs and the artifact's."""
    adapter = subject.adapter
    with (
        progress.stage(title, total=len(evaluation)) as advance,
        ThreadPoolExecutor(1, "float-reference") as pool,
    ):
        for index in range(len(evaluation)):
            sample = evaluation.sample(index)
            expected = pool.submit(evaluation.expected, index, sample)
            ours = sample if feedback is None else feedback.give(index, sample)
            outputs = _outputs(subject, run(adapter.to_artifact(ours)))
            if feedback is not None:
                feedback.take(outputs.real)
            begins = partial(where_not_finite, subject, ours)
            check_finite(subject.model, expected.result(), outputs.real, begins)
            yield index, expected.result(), outputs
            advance(1)


def _labels_by_sample(subject: Subject, evaluation: Evaluation) -> Array | None:
    """Return labels that fit, (samples, batch); None where there are none."""
    return None if _unfit(subject, evaluation) else evaluation.labels


def _oracle_gaps(
    subject: Subject,
    evaluation: Evaluation,
    runners: Mapping[str, Runner],
    samples: int,
    progress: Progress,
) -> dict[str, OracleGap]:
    """Measure the gap of every runner to one oracle, on the same samples."""
    from qhal.quant.oracle import Oracle

    oracle, adapter = Oracle(subject.model), subject.adapter
    gaps = {prefix: OracleGap(subject.model) for prefix in runners}
    samples = _ORACLE_PACE.most(subject, min(samples, len(evaluation)), fewest=1)
    with progress.stage("compare with the oracle", total=samples) as advance:
        for index in range(samples):
            sample = evaluation.sample(index)
            inputs, float_model = adapter.to_artifact(sample), evaluation.expected(index, sample)
            planned = _outputs(subject, oracle.run(inputs))
            for prefix, runner in runners.items():
                found = _outputs(subject, run_raw(runner, subject, inputs))
                gaps[prefix].add(index, planned, found, float_model)
            advance(1)
    return gaps


def _check_suspects(
    subject: Subject,
    evaluation: Evaluation,
    runners: Mapping[str, Runner],
    gaps: Mapping[str, OracleGap],
    suspects: Suspects,
) -> None:
    """Judge the samples that look most wrong, by what the runtime gave for them, with the others.

    They share the time that the first samples left, but there is at least one.

    Raises:
        VerificationError: an output is something else than the plan says.
    """
    from qhal.quant.oracle import Oracle

    oracle, adapter, gap = Oracle(subject.model), subject.adapter, gaps["oracle"]
    most = _ORACLE_PACE.most(subject, gap.samples + MOST_SUSPECTS, fewest=1) - gap.samples
    reference, strays = gaps.get(_REFERENCE), []
    for index, kept in suspects.worst(max(1, most)).items():
        sample = evaluation.sample(index)
        inputs, float_model = adapter.to_artifact(sample), evaluation.expected(index, sample)
        planned = _outputs(subject, oracle.run(inputs))
        if reference is not None:
            found = _outputs(subject, run_raw(runners[_REFERENCE], subject, inputs))
            reference.add(index, planned, found, float_model)
        for one in kept:
            found = Outputs({one.output: one.raw}, {one.output: one.real})
            strays.append(gap.add_suspect(one.output, index, planned, found, float_model))
    gap.check(runners["oracle"].runtime, reference, "; ".join(filter(None, strays)))


def _outputs(subject: Subject, raw: Arrays) -> Outputs:
    return Outputs(raw, subject.adapter.to_user(raw))
