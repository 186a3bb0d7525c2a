"""A float model that is right no more often than by chance is no model to deploy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qhal.data import Dataset
from qhal.data.variants import Variant, variants
from qhal.decisions import Code, Decision, Severity
from qhal.errors import FloatModelError
from qhal.ir.graph import Graph
from qhal.pipeline.options import Options
from qhal.progress import SILENT, Progress
from qhal.results.gate import Gate
from qhal.verify.evaluation import Evaluation
from qhal.verify.float_top1 import Answers, Attempt, ask_float, find_better, try_others

_CONVINCING = 1e-4
"""Odds of chance below which an attempt is reported: about a hundred are made."""


@dataclass(frozen=True)
class FloatFinding:
    """What is known about the float model.

    Attributes:
        decisions: what is doubtful about it.
        gates: that it is better than chance, if it is not.
        error: why it is not deployed; None if it is.
    """

    decisions: tuple[Decision, ...] = ()
    gates: tuple[Gate, ...] = ()
    error: FloatModelError | None = None

    def refuse(self, now: bool) -> None:
        """Raise the error, if there is one and it is due."""
        if now and self.error is not None:
            raise self.error


def check_float(
    graph: Graph,
    evaluation: Evaluation,
    data: Dataset,
    options: Options,
    progress: Progress = SILENT,
) -> FloatFinding:
    """Find out whether the float model is better than chance; if not, try what would help.

    Args:
        graph: the imported model.
        evaluation: samples with labels, and the float model. Without labels nothing is found.
        data: what the samples are made from.
        options: what the user asked for.
        progress: who shows the progress of long stages.
    """
    answers = ask_float(graph, evaluation, progress)
    if answers is None:
        return FloatFinding()
    if not answers.in_doubt:
        if not answers.suspicious or options.allow_chance:
            return FloatFinding()
        return _compared(graph, evaluation, data, options, progress)
    sentence = _sentence(answers)
    if options.allow_chance:
        return FloatFinding((_warning(f"{sentence}, which --allow-chance accepts."),))
    if not answers.useless:
        return FloatFinding((_warning(f"{sentence}; so few samples cannot tell."),))
    others = list(variants(data))
    trials = try_others(graph, evaluation, others, progress)
    error = FloatModelError(f"{sentence}.", _advice(trials, others, options))
    return FloatFinding((), (Gate("float-top1", sentence, False),), error)


def _compared(
    graph: Graph, evaluation: Evaluation, data: Dataset, options: Options, progress: Progress
) -> FloatFinding:
    """Warn if other preparation of the data fits the float model significantly better."""
    better = find_better(graph, evaluation, list(variants(data)), progress)
    if better is None:
        return FloatFinding()
    sentence = (
        f"The float model is right on {_right(better.asked)} of the samples tried as they are "
        f"prepared now, and on {_right(better.found.answers)} with "
        f"{_how(better.found, options)}; chance does not explain that."
    )
    return FloatFinding((Decision(Code.FLOAT_WORSE, sentence, severity=Severity.WARNING),))


def _warning(sentence: str) -> Decision:
    return Decision(Code.FLOAT_AT_CHANCE, sentence, severity=Severity.WARNING)


def _sentence(answers: Answers) -> str:
    return (
        f"The float model is right on {answers.hits} of {answers.rows} labeled samples "
        f"({100 * answers.top1:.2f} %), no more often than by chance ({_chance_words(answers)})"
    )


def _chance_words(answers: Answers) -> str:
    share = f"{100 * answers.chance:.2f} %"
    if answers.chance > 1 / answers.classes:
        return f"{share} for the same answers in any order"
    return f"{share} with {answers.classes} classes"


def _advice(trials: Sequence[Attempt], others: Sequence[Variant], options: Options) -> str:
    good = [t for t in trials if t.answers.odds < _CONVINCING and (t.words or t.offset)]
    if not good:
        advice = _nothing_helped(trials[0].answers, others)
    else:
        lines = "".join(f"\n  {_how(t, options)}: {_right(t.answers)}" for t in good)
        advice = f"Tried on some of these samples, the float model is then right on{lines}\n"
    return f"{advice}If this is meant, --allow-chance deploys it as it is."


def _nothing_helped(best: Answers, others: Sequence[Variant]) -> str:
    listed = "".join(f"\n  {other.words}" for other in others)
    return (
        f"What was tried, each with the label offset that fits best, is right on {_right(best)} at "
        f"most:{listed}\nIt may be preprocessed otherwise, have its classes in another order, or "
        "not be trained.\n"
    )


def _right(answers: Answers) -> str:
    return f"{answers.hits} of {answers.rows} ({100 * answers.top1:.2f} %)"


def _how(trial: Attempt, options: Options) -> str:
    moved = options.label_offset + trial.offset
    words = [trial.words, f"--label-offset {moved}" if trial.offset else ""]
    return " and ".join(filter(None, words))
