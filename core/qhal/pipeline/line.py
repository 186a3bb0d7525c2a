"""The straight line: one float model and its data in, a folder with a proven artifact out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qhal.artifact.runnable import Subject
from qhal.decisions import Decision
from qhal.errors import QhalError, VerificationError
from qhal.measure.energy import energy
from qhal.measure.measurement import measure
from qhal.metric import Metric
from qhal.output import REPORT, OutputFolder, check_free
from qhal.pipeline.gates import Gated, accuracy_gate, drop_refusal, loop_gate, loop_refusal
from qhal.pipeline.options import Options
from qhal.pipeline.planning import PlannedModel, plan_line
from qhal.pipeline.prepare import Prepared
from qhal.pipeline.recording import build_record
from qhal.pipeline.refusals import check_place, keep_refused
from qhal.pipeline.remedies import measure_remedies
from qhal.pipeline.session import Session
from qhal.pipeline.stages import Stages
from qhal.progress import SILENT, Progress
from qhal.quant.model import QuantModel
from qhal.report import to_markdown
from qhal.results.gate import Gate
from qhal.results.plan import Plan, plan_of
from qhal.results.reconcile import reconcile
from qhal.results.record import FILE_NAME, RunRecord
from qhal.verify import check_import, check_rewritten, verify
from qhal.verify.evaluation import Evaluation
from qhal.verify.loop import GATE as LOOP_GATE
from qhal.verify.loop import LoopAccuracy
from qhal.verify.verification import Verification


def run_line(
    session: Session, name: str, options: Options, folder: Path, progress: Progress = SILENT
) -> RunRecord:
    """Run the line for one target, from top to bottom: values are made once and never changed.

    Args:
        session: the model and its data.
        name: of the target.
        options: what the user asked for.
        folder: the output folder.
        progress: shows the progress of long stages.
    """
    stages = Stages()
    check_free(folder, options.force)
    check_place(options.keep_refused, folder, options.force)
    lowered = lower_line(session, name, options, stages, progress)
    proven = _prove(session, lowered, options, stages, progress)
    record = _recorded(session, lowered, proven, {"target": name, **options.as_given()}, stages)
    refusal = proven.error or session.check_float(progress).error
    if refusal is None and not record.ok:
        tried = measure_remedies(session, lowered.planned, options, progress)
        refusal = _limit_refusal(proven, record, tried)
    if refusal is not None:
        raise keep_refused(options.keep_refused, record, refusal, options.force)
    _write(folder, record, lowered.subject, options.force)
    return record


def _limit_refusal(proven: _Proven, record: RunRecord, tried: str) -> QhalError:
    failed = next(gate for gate in proven.gates if not gate.passed)
    if failed.name == LOOP_GATE and proven.loop is not None:
        return loop_refusal(failed, proven.loop, record.decisions, tried)
    return drop_refusal(failed, record.metrics, record.decisions, tried)


@dataclass(frozen=True, eq=False)
class LoweredModel:
    """What the first half of the line makes: an artifact that nobody has run yet.

    Attributes:
        planned: the quantized model, and how it came about.
        subject: the quantized model and its artifact.
        baseline: the float model through the same backend; None if it takes none.
        float_model: the float model in the target's layout.
        gates: limits so far.
        decisions: in the order of the line.
    """

    planned: PlannedModel
    subject: Subject
    baseline: Subject | None
    float_model: QuantModel
    gates: tuple[Gate, ...]
    decisions: tuple[Decision, ...]


def lower_line(
    session: Session, name: str, options: Options, stages: Stages, progress: Progress = SILENT
) -> LoweredModel:
    """Run the first half of the line: from the model file to the lowered artifact."""
    planned = plan_line(session, name, options, stages, progress)
    served = planned.served
    with stages("lower"):
        subject = served.lower(planned.model)
    with stages("baseline"):
        float_model = planned.float_model
        baseline = served.lower(float_model) if served.backend.info.lowers_float else None
    decisions = (*planned.decisions, *subject.artifact.decisions)
    return LoweredModel(planned, subject, baseline, float_model, planned.gates, decisions)


def _recorded(
    session: Session,
    lowered: LoweredModel,
    proven: _Proven,
    asked: Mapping[str, object],
    stages: Stages,
) -> RunRecord:
    """Write down both halves of the line."""
    return build_record(
        path=session.model,
        imported=session.load_model(),
        subject=lowered.subject,
        runtime=proven.runtime,
        metrics=proven.metrics,
        decisions=[*lowered.decisions, *proven.decisions],
        plan=proven.plan,
        options=asked,
        gates=(*lowered.gates, *proven.gates),
        data=session.load_data().describe(),
        timings_s=stages.timings_s,
        registry=session.load_plugins(),
    )


@dataclass(frozen=True, eq=False)
class _Proven:
    """What the second half of the line finds out about an artifact.

    Attributes:
        metrics: of verification, measurement and energy.
        decisions: in the order of the line.
        plan: with what was placed and executed, as far as it was.
        gates: limits, met or not.
        runtime: what ran the artifact; empty if nothing did.
        error: why it is not proven; None if it is.
        loop: what a model with states does in a closed loop; None for one without.
    """

    metrics: Mapping[str, Metric]
    decisions: tuple[Decision, ...]
    plan: Plan
    gates: tuple[Gate, ...]
    runtime: str = ""
    error: QhalError | None = None
    loop: LoopAccuracy | None = None


def _prove(
    session: Session, lowered: LoweredModel, options: Options, stages: Stages, progress: Progress
) -> _Proven:
    """Run the second half of the line: compare, measure, and hold against the limits."""
    subject, imported = lowered.subject, session.load_model()
    plan = plan_of(subject.model, lowered.planned.prepared.choices)
    try:
        with stages("verify"):
            evaluation = session.load_reference()
            first = evaluation.sample(0)
            matching = check_import(imported.graph, evaluation.reference, first)
            rewritten = _check_rewritten(lowered.planned.prepared, evaluation)
            verified = verify(
                subject,
                evaluation,
                samples=options.eval_samples,
                oracle_samples=session.oracle_samples,
                progress=progress,
            )
    except VerificationError as error:
        return _Proven({}, (), plan, (Gate("verification", error.message, False),), error=error)
    with stages("measure"):
        size, threads = imported.size_bytes, options.threads
        measured = measure(
            subject, lowered.baseline, first, model_bytes=size, threads=threads, progress=progress
        )
        joules = energy(subject.model, lowered.float_model, subject.profile, measured.metrics)
        placement = subject.placement()
    made_by = (verified, measured, joules)
    gated, looped = _gated(verified, options.max_drop)
    executed = reconcile(plan, placement)
    return _Proven(
        {**verified.metrics, **matching, **rewritten, **measured.metrics, **joules.metrics},
        (*(d for made in made_by for d in made.decisions), *gated.decisions, *executed.decisions),
        executed.plan,
        (*looped, *gated.gates),
        verified.runtime,
        loop=verified.loop,
    )


def _check_rewritten(prepared: Prepared, evaluation: Evaluation) -> dict[str, Metric]:
    """Compare what was quantized with the model file, on a second sample if integers come out."""
    graph, reference = prepared.imported.graph, evaluation.reference
    real = all(graph.tensors[name].dtype.is_float for name in graph.outputs)
    count = min(1 if real else 2, len(evaluation))
    samples = map(evaluation.spread(count).sample, range(count))
    return check_rewritten(prepared.laid, graph, reference, samples)


def _gated(verified: Verification, limit_pp: float | None) -> tuple[Gated, tuple[Gate, ...]]:
    """Hold accuracy against its limits: a model with states need not have labels."""
    looped = loop_gate(verified.loop, limit_pp)
    if looped and "top1_drop" not in verified.metrics:
        return Gated(), looped
    return accuracy_gate(verified.metrics, limit_pp), looped


def _write(folder: Path, record: RunRecord, subject: Subject, force: bool) -> None:
    with OutputFolder(folder, force=force) as output:
        for name, content in subject.artifact.files.items():
            output.write(name, content)
        output.write(FILE_NAME, record.dumps())
        output.write(REPORT, to_markdown(record))
