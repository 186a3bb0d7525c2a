"""What would help an artifact that lost too much: measured with the oracle, on a few samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from time import monotonic

from qhal.artifact.ports import Adapter
from qhal.data import Rollout
from qhal.errors import QhalError
from qhal.ir.cost import macs
from qhal.ir.graph import Array, NodeView
from qhal.metric import Basis
from qhal.pipeline.options import Options
from qhal.pipeline.planning import PlannedModel, plan_line
from qhal.pipeline.session import Session
from qhal.pipeline.stages import Stages
from qhal.progress import SILENT, Progress
from qhal.quant.model import QuantModel
from qhal.quant.oracle import Oracle
from qhal.quant.range_estimators import RANGE_ESTIMATORS
from qhal.verify import ORACLE_MACS_PER_S
from qhal.verify.accuracy import Accuracy, scores_output
from qhal.verify.evaluation import Evaluation
from qhal.verify.loop import Feedback, LoopAccuracy

_BUDGET_S = 10.0
"""What is not begun by then is not measured."""
_FEWEST, _MOST = 4, 64
_FEWEST_FRAMES, _MOST_FRAMES = 32, 200
"""In a closed loop: a state needs frames to leave the float model's."""


@dataclass(frozen=True, eq=False)
class _Candidate:
    """Another choice, and how its model is made."""

    words: str
    make: Callable[[], QuantModel]


def measure_remedies(
    session: Session, planned: PlannedModel, options: Options, progress: Progress = SILENT
) -> str:
    """Measure other range estimators and wider recipes, and write what was found.

    All are computed by the oracle on the same samples, which are few. No artifact is made.
    """
    candidates = list(_candidates(session, planned, options))
    evaluation = _chosen(session.load_reference(), planned.model, len(candidates))
    asked = _Candidate("as it is", lambda: planned.model)
    begun, lines, missing = monotonic(), [], []
    with progress.stage("measure what would help", total=len(candidates) + 1) as advance:
        for each in (asked, *candidates):
            late = monotonic() - begun > _BUDGET_S
            found = None if late else _measured(each, evaluation)
            if found is None:
                missing.append(each.words)
            else:
                lines.append(f"\n  {each.words}: {found}")
            advance(1)
    if session.cache is None:
        missing.extend(f"--recipe {name}" for name in planned.wider_recipes)
    counted = f"{len(evaluation)} samples"
    if evaluation.rollout is not None:
        counted = f"{len(evaluation)} frames in a closed loop"
    return f"{_measured_words(lines, counted)}{_unmeasured_words(missing)}"


def _candidates(session: Session, planned: PlannedModel, options: Options) -> Iterator[_Candidate]:
    """List recipes of which statistics are at hand, and range estimators; a recipe first."""
    recipes = [_recipe(session, planned, options, name) for name in planned.wider_recipes]
    observers = [_observer(planned, name) for name in RANGE_ESTIMATORS if name != options.observer]
    known = recipes if session.cache is not None else []
    return iter((*known[:1], *observers, *known[1:]))


def _observer(planned: PlannedModel, name: str) -> _Candidate:
    return _Candidate(f"--observer {name}", lambda: planned.with_observer(name))


def _recipe(session: Session, planned: PlannedModel, options: Options, name: str) -> _Candidate:
    target = planned.prepared.target.profile.name
    asked = replace(options, recipe=name, max_fallback=None)
    return _Candidate(f"--recipe {name}", lambda: plan_line(session, target, asked, Stages()).model)


def _chosen(evaluation: Evaluation, model: QuantModel, candidates: int) -> Evaluation:
    """Take samples that the oracle computes in half of the budget, evenly spread."""
    each_s = sum(macs(NodeView(model.graph, n)) for n in model.graph.nodes) / ORACLE_MACS_PER_S
    count = int(_BUDGET_S / 2 / max(each_s * (candidates + 1), 1e-6))
    if evaluation.rollout is not None:
        return evaluation.first(min(_MOST_FRAMES, max(_FEWEST_FRAMES, count)))
    return evaluation.spread(min(_MOST, max(_FEWEST, count)))


def _measured(candidate: _Candidate, evaluation: Evaluation) -> str | None:
    """Say how close the oracle of a candidate comes; None if the target refuses it."""
    try:
        model = candidate.make()
    except QhalError:
        return None
    oracle, adapter = Oracle(model), Adapter.of_model(model)
    if evaluation.rollout is not None:
        return _in_the_loop(oracle, adapter, evaluation, evaluation.rollout)
    accuracy, labels = Accuracy(scores_output(model.graph, model.params)), evaluation.labels
    for index in range(len(evaluation)):
        sample = evaluation.sample(index)
        outputs = adapter.to_user(oracle.run(adapter.to_artifact(sample)))
        row = None if labels is None else labels[index]
        accuracy.add(evaluation.expected(index, sample), outputs, row)
    return _words(accuracy, evaluation.labels)


def _in_the_loop(oracle: Oracle, adapter: Adapter, evaluation: Evaluation, rollout: Rollout) -> str:
    loop, feedback = LoopAccuracy(rollout.pairs), Feedback(rollout)
    for index in range(len(evaluation)):
        sample = evaluation.sample(index)
        ours = adapter.to_artifact(feedback.give(index, sample))
        outputs = adapter.to_user(oracle.run(ours))
        feedback.take(outputs)
        loop.add(rollout.begins(index), evaluation.expected(index, sample), outputs)
    return loop.figures()


def _words(accuracy: Accuracy, labels: Array | None) -> str:
    metrics = accuracy.metrics(Basis.COUNTED_EMULATED)
    words = [f"SQNR {metrics['sqnr'].value:.1f} dB"] if "sqnr" in metrics else []
    if labels is not None and accuracy.scores.top1.rows:
        top1 = accuracy.scores.top1
        words.append(f"right on {top1.other} of {top1.rows} (float {top1.reference})")
    if accuracy.scores.samples:
        words.append(f"the float model's answer on {accuracy.scores.agree}")
    return ", ".join(words)


def _measured_words(lines: Iterable[str], samples: str) -> str:
    found = "".join(lines)
    return f"Measured with the oracle on {samples}:{found}" if found else ""


def _unmeasured_words(missing: Iterable[str]) -> str:
    listed = ", ".join((*missing, "another number of --calib-samples"))
    return f"\nNot measured: {listed}."
