"""What would help an artifact that lost too much: measured with the oracle, on a few samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from time import monotonic

from qhal.artifact.ports import Adapter
from qhal.data import Rollout
from qhal.errors import QhalError
from qhal.ir.cost import macs
from qhal.ir.graph import Array, Arrays, NodeView
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
    is_recipe: bool = False


@dataclass(frozen=True)
class _Found:
    """What a candidate comes to, in words, and whether that would be accepted as it is."""

    words: str
    holds: bool = False


def measure_remedies(
    session: Session, planned: PlannedModel, options: Options, progress: Progress = SILENT
) -> str:
    """Measure other range estimators and recipes, and write what was found.

    All are computed by the oracle on the same samples, which are few. No artifact is made. Of a
    model with states the first recipe that holds in the closed loop ends the search for others.
    """
    reference = session.load_reference()
    candidates = list(_candidates(session, planned, options, reference.rollout is not None))
    evaluation = _chosen(reference, planned.model, len(candidates))
    asked = _Candidate("as it is", lambda: planned.model)
    begun, lines, missing, held = monotonic(), [], [], ""
    with progress.stage("measure what would help", total=len(candidates) + 1) as advance:
        for each in (asked, *candidates):
            advance(1)
            if held and each.is_recipe:
                continue
            late = monotonic() - begun > _BUDGET_S
            found = None if late else _measured(each, evaluation, options.max_drop)
            if found is None:
                missing.append(each.words)
                continue
            lines.append(f"\n  {each.words}: {found.words}")
            if found.holds and each.is_recipe:
                held = each.words
    if session.cache is None and evaluation.rollout is None:
        missing.extend(f"--recipe {name}" for name in planned.wider_recipes)
    counted = f"{len(evaluation)} samples"
    if evaluation.rollout is not None:
        further = evaluation.further_frames()
        counted = f"{len(evaluation) + len(further or ())} frames in a closed loop"
    holds = f"\n{held} holds on these frames." if held else ""
    if evaluation.rollout is not None and options.max_drop is None:
        holds += "\nMore frames narrow the bound for other frames."
    return f"{_measured_words(lines, counted)}{holds}{_unmeasured_words(missing)}"


def _candidates(
    session: Session, planned: PlannedModel, options: Options, looped: bool
) -> Iterator[_Candidate]:
    """List recipes and range estimators.

    Recipes of which statistics are at hand, one of them first. In a closed loop all that keep as
    much of weights, the nearest in size first: a sequence is short enough to collect them.
    """
    names = planned.other_recipes if looped else planned.wider_recipes
    recipes = [_recipe(session, planned, options, name) for name in names]
    observers = [_observer(planned, name) for name in RANGE_ESTIMATORS if name != options.observer]
    if looped:
        return iter((*recipes, *observers))
    known = recipes if session.cache is not None else []
    return iter((*known[:1], *observers, *known[1:]))


def _observer(planned: PlannedModel, name: str) -> _Candidate:
    return _Candidate(f"--observer {name}", lambda: planned.with_observer(name))


def _recipe(session: Session, planned: PlannedModel, options: Options, name: str) -> _Candidate:
    target = planned.prepared.target.profile.name
    asked = replace(options, recipe=name, max_fallback=None)
    return _Candidate(
        f"--recipe {name}", lambda: plan_line(session, target, asked, Stages()).model, True
    )


def _chosen(evaluation: Evaluation, model: QuantModel, candidates: int) -> Evaluation:
    """Take samples that the oracle computes in half of the budget, evenly spread."""
    each_s = sum(macs(NodeView(model.graph, n)) for n in model.graph.nodes) / ORACLE_MACS_PER_S
    count = int(_BUDGET_S / 2 / max(each_s * (candidates + 1), 1e-6))
    if evaluation.rollout is not None:
        return evaluation.first(min(_MOST_FRAMES, max(_FEWEST_FRAMES, count)))
    return evaluation.spread(min(_MOST, max(_FEWEST, count)))


def _measured(
    candidate: _Candidate, evaluation: Evaluation, limit_pp: float | None
) -> _Found | None:
    """Say how close the oracle of a candidate comes; None if the target refuses it."""
    try:
        model = candidate.make()
    except QhalError:
        return None
    oracle, adapter = Oracle(model), Adapter.of_model(model)
    if evaluation.rollout is not None:
        loop = _in_the_loop(oracle, adapter, evaluation, evaluation.rollout)
        return _Found(loop.figures(), loop.gate(limit_pp).passed)
    accuracy, labels = Accuracy(scores_output(model.graph, model.params)), evaluation.labels
    for index in range(len(evaluation)):
        sample = evaluation.sample(index)
        outputs = adapter.to_user(oracle.run(adapter.to_artifact(sample)))
        row = None if labels is None else labels[index]
        accuracy.add(evaluation.expected(index, sample), outputs, row)
    return _Found(_words(accuracy, evaluation.labels))


def _in_the_loop(
    oracle: Oracle, adapter: Adapter, evaluation: Evaluation, rollout: Rollout
) -> LoopAccuracy:
    loop = LoopAccuracy(rollout.pairs)
    for begins, expected, outputs in _looped(oracle, adapter, evaluation, rollout):
        loop.add(begins, expected, outputs)
    further = evaluation.further_frames()
    if further is not None and further.rollout is not None:
        for begins, expected, outputs in _looped(oracle, adapter, further, further.rollout):
            loop.add_further(begins, expected, outputs)
    return loop


def _looped(
    oracle: Oracle, adapter: Adapter, evaluation: Evaluation, rollout: Rollout
) -> Iterator[tuple[bool, Arrays, Arrays]]:
    """Yield whether a sequence begins, the float model's outputs and the oracle's."""
    feedback = Feedback(rollout)
    for index in range(len(evaluation)):
        sample = evaluation.sample(index)
        ours = adapter.to_artifact(feedback.give(index, sample))
        outputs = adapter.to_user(oracle.run(ours))
        feedback.take(outputs)
        yield rollout.begins(index), evaluation.expected(index, sample), outputs


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
