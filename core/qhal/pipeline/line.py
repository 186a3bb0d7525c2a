"""The straight line: one float model and its data in, a folder with a proven artifact out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from qhal.artifact.runnable import Subject
from qhal.decisions import Decision
from qhal.measure import measure
from qhal.measure.energy import energy
from qhal.output import REPORT, OutputFolder, check_free
from qhal.pipeline.float_passes import FLOAT_PASSES, run_float_passes
from qhal.pipeline.gates import accuracy_gate, fallback_gate
from qhal.pipeline.options import Options
from qhal.pipeline.prepare import Prepared, prepare
from qhal.pipeline.recording import build_record
from qhal.pipeline.served import find_target
from qhal.pipeline.session import Session
from qhal.pipeline.stages import Stages
from qhal.plugin.calls import naming
from qhal.progress import SILENT, Progress
from qhal.quant.assign import assign
from qhal.quant.calibrate import calibrate
from qhal.quant.constraints import constrain, refuse
from qhal.quant.model import QuantModel
from qhal.quant.settle import settle
from qhal.report import to_markdown
from qhal.results.gate import Gate
from qhal.results.plan import plan_of
from qhal.results.reconcile import reconcile
from qhal.results.record import FILE_NAME, RunRecord
from qhal.targets.recipe import wider_recipes
from qhal.verify import check_import, verify


def run_line(
    session: Session, name: str, options: Options, folder: Path, progress: Progress = SILENT
) -> RunRecord:
    """Run the line for one target, from top to bottom: values are made once and never changed.

    Args:
        session: the model and its data.
        name: of the target.
        options: what the user asked for.
        folder: the output folder.
        progress: who shows the progress of long stages.
    """
    stages = Stages()
    check_free(folder, options.force)
    lowered = lower_line(session, name, options, stages, progress)
    imported, subject = session.load_model(), lowered.subject
    with stages("verify"):
        evaluation = session.load_reference()
        first = evaluation.sample(0)
        matching = check_import(imported.graph, evaluation.reference, first)
        verified = verify(
            subject,
            evaluation,
            samples=options.eval_samples,
            oracle_samples=session.oracle_samples,
            progress=progress,
        )
    with stages("measure"):
        size, threads = imported.size_bytes, options.threads
        measured = measure(
            subject, lowered.baseline, first, model_bytes=size, threads=threads, progress=progress
        )
        joules = energy(subject.model, lowered.float_model, subject.profile, measured.metrics)
        placement = subject.placement()
    made_by = (lowered, verified, measured, joules)
    decisions = [d for made in made_by for d in made.decisions]
    gated = accuracy_gate(verified.metrics, options.max_drop, lowered.wider_recipes, decisions)
    executed = reconcile(plan_of(subject.model, lowered.prepared.choices), placement)
    record = build_record(
        path=session.model,
        imported=imported,
        subject=subject,
        runtime=verified.runtime,
        metrics={**verified.metrics, **matching, **measured.metrics, **joules.metrics},
        decisions=[*decisions, *gated.decisions, *executed.decisions],
        plan=executed.plan,
        options={"target": name, **options.as_given()},
        gates=(*lowered.gates, *gated.gates),
        data=session.load_data().describe(),
        timings_s=stages.timings_s,
        registry=session.load_plugins(),
    )
    _write(folder, record, subject, options.force)
    return record


@dataclass(frozen=True, eq=False)
class LoweredModel:
    """What the first half of the line makes: an artifact that nobody has run yet.

    Attributes:
        subject: the quantized model and its artifact.
        baseline: the float model through the same backend; None if it takes none.
        float_model: the float model in the target's layout.
        prepared: the model as it was quantized, with the kernel of every node.
        gates: limits of the user that are met so far.
        decisions: in the order of the line.
    """

    subject: Subject
    baseline: Subject | None
    float_model: QuantModel
    prepared: Prepared
    gates: tuple[Gate, ...]
    decisions: tuple[Decision, ...]

    @property
    def wider_recipes(self) -> tuple[str, ...]:
        """Recipes of the target that keep more of the model than the one that was asked for."""
        target = self.prepared.target
        return tuple(recipe.name for recipe in wider_recipes(target.recipe, target.caps))


def lower_line(
    session: Session, name: str, options: Options, stages: Stages, progress: Progress = SILENT
) -> LoweredModel:
    """Run the first half of the line: from the model file to the lowered artifact."""
    with stages("import"):
        served = find_target(name, options.recipe, registry=session.load_plugins())
        served.check_can_lower()
        backend, target = served.backend, served.target
        imported = session.load_model()
    with stages("prepare"), naming(backend, "capabilities"):
        ready = prepare(target, imported, keep_layout=options.keep_layout)
        refuse(ready.choices, ready.laid.graph, name)
    with stages("data"):
        data = session.load_data()
    with naming(backend, "capabilities"):
        fitted = run_float_passes(ready, session, stages, FLOAT_PASSES)
    with stages("prepare"):
        constraints = constrain(fitted.laid.graph, target.caps, target.policy, fitted.choices)
    with stages("calibrate"):
        calibration = calibrate(
            fitted.legal.graph,
            data.calibration,
            fitted.laid.sources_of(constraints.to_observe),
            fitted.laid.sources_of(constraints.to_average),
            also=fitted.legal.graph.tensors,
            cache=session.cache,
            progress=progress,
        )
    with stages("assign"):
        stats, order = fitted.laid.with_sources(calibration.stats), fitted.laid.element_order
        settled = settle(fitted.laid.graph, target.caps, constraints, stats, options.observer)
        constraints = settled.constraints
        refuse(constraints.choices, fitted.laid.graph, name)
        fitted = replace(fitted, choices=constraints.choices)
        gates = fallback_gate(fitted.choices, options.max_fallback)
        assigned = assign(constraints, stats, options.observer, order)
    with stages("lower"):
        subject = served.lower(assigned.model)
    with stages("baseline"):
        float_model = ready.float_model
        baseline = served.lower(float_model) if backend.info.lowers_float else None
    made_by = (fitted, data, constraints, settled, calibration, assigned, subject.artifact)
    decisions = tuple(d for made in made_by for d in made.decisions)
    return LoweredModel(subject, baseline, float_model, fitted, gates, decisions)


def _write(folder: Path, record: RunRecord, subject: Subject, force: bool) -> None:
    with OutputFolder(folder, force=force) as output:
        for name, content in subject.artifact.files.items():
            output.write(name, content)
        output.write(FILE_NAME, record.dumps())
        output.write(REPORT, to_markdown(record))
