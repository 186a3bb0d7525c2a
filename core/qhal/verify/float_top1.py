"""Whether the float model is right more often than by chance, and what would make it so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qhal.data.variants import Variant
from qhal.ir.cost import macs
from qhal.ir.graph import Array, Graph, NodeView
from qhal.progress import SILENT, Progress
from qhal.verify.accuracy import scores_output, unfit_labels
from qhal.verify.chance import at_least, at_most, lost_by_chance
from qhal.verify.compare import classes_of
from qhal.verify.evaluation import Evaluation, Samples

_LOOKS = (8, 16, 32, 64, 128)
"""Samples after which a model that is clearly good, or bad, needs no more of them."""
_MOST = 256
_FEWEST = 64
_CLEARLY, _ABOVE, _BELOW = 0.001, 0.05, 0.025
"""Odds of chance: to stop early, to count as better, and to rule out that a model is useful."""

_USEFUL = 0.25
"""A model is useless if it is not even so far on the way from chance to always right."""

_MACS_PER_S = 5e9
"""Of ONNX Runtime on one thread, about. No clock decides how many samples are taken."""
_BUDGET_S = 6.0
_SCREENED, _TRIED, _BEST = (8, 32), (16, 64), 3

_TRUSTED = 0.85
"""Top-1 on the samples that were asked for anyway, from which on nothing else is tried."""
_FEWEST_OTHERS, _FEWEST_ROWS, _CONFIRMED = 3, 8, 192


@dataclass(frozen=True)
class Answers:
    """What a model says of samples with labels.

    Attributes:
        classes: how many there are.
        said: its class for each row.
        labels: the right one.
    """

    classes: int
    said: tuple[int, ...] = ()
    labels: tuple[int, ...] = ()

    def add(self, said: Array, labels: Array) -> Answers:
        """Take in more rows."""
        return replace(
            self,
            said=(*self.said, *map(int, said)),
            labels=(*self.labels, *map(int, labels)),
        )

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.labels)

    @property
    def hits(self) -> int:
        """How often it is right."""
        return sum(s == label for s, label in zip(self.said, self.labels, strict=True))

    @property
    def top1(self) -> float:
        """Share of rows in which it is right."""
        return self.hits / self.rows if self.rows else 0.0

    @property
    def chance(self) -> float:
        """What chance makes of the top-1: of all classes, or of answers as frequent as these.

        The second is what a model gets that says the same as often, whatever the sample is: one
        that always says the most frequent class is right as often as that class comes. Labels of
        a single class cannot tell.
        """
        once = 1 / self.classes
        if len(set(self.labels)) < 2:
            return once
        said, labels = Counter(self.said), Counter(self.labels)
        return max(once, sum(n * said[c] for c, n in labels.items()) / self.rows**2)

    @property
    def odds(self) -> float:
        """Probability of so many hits, or more, by chance alone."""
        return at_least(self.hits, self.rows, self.chance)

    @property
    def useless(self) -> bool:
        """True if it is at chance, and these samples rule out that it is any good."""
        good = self.chance + _USEFUL * (1 - self.chance)
        return self.odds > _ABOVE and at_most(self.hits, self.rows, good) < _BELOW

    @property
    def in_doubt(self) -> bool:
        """True if it is at chance, although a model that is always right would not be."""
        perfect = replace(self, said=self.labels)
        return self.odds > _ABOVE >= perfect.odds

    @property
    def suspicious(self) -> bool:
        """True if it is wrong so often that another preparation of the data may fit better."""
        return self.top1 < _TRUSTED

    def beyond(self, other: Answers) -> int:
        """Count what is right here and wrong in other answers to the same samples."""
        pairs = zip(self.said, self.labels, other.said, other.labels, strict=True)
        return sum(a == b and c != d for a, b, c, d in pairs)

    def moved(self, offset: int) -> Answers:
        """Add a number to all labels."""
        return replace(self, labels=tuple(label + offset for label in self.labels))

    def fitted(self) -> tuple[int, Answers]:
        """Find the offset of labels that fits best; 0 unless another fits better."""
        steps = Counter(s - label for s, label in zip(self.said, self.labels, strict=True))
        offset, count = steps.most_common(1)[0] if steps else (0, 0)
        return (offset, self.moved(offset)) if count > self.hits else (0, self)


@dataclass(frozen=True)
class Attempt:
    """Another way to prepare data or labels, and what the float model then says.

    Attributes:
        words: how to ask for it; "" for what was asked for.
        offset: of the labels, in addition.
        answers: of the model.
    """

    words: str
    offset: int
    answers: Answers


def ask_float(graph: Graph, evaluation: Evaluation, progress: Progress = SILENT) -> Answers | None:
    """Ask the float model about labeled samples, until it is clear whether it is any good.

    Args:
        graph: the imported model.
        evaluation: the samples, and the model.
        progress: shows how far it is.

    Returns:
        What it says; None if there are no labels that fit.
    """
    name, labels = scores_output(graph), evaluation.labels
    if name is None or labels is None or unfit_labels(graph, labels):
        return None
    answers = Answers(classes_of(graph.tensors[name].shape))
    most = min(len(evaluation), _affordable(graph, (_FEWEST, _MOST)))
    with progress.stage("check the float model", total=most) as advance:
        for count, index in enumerate(_mixed(len(evaluation), most), 1):
            sample = evaluation.sample(index)
            scores = evaluation.expected(index, sample)[name]
            answers = answers.add(_best(scores), labels[index])
            advance(1)
            if count in _LOOKS and (
                answers.odds < _CLEARLY or (count >= _FEWEST and answers.useless)
            ):
                break
    return answers


def try_others(
    graph: Graph, evaluation: Evaluation, others: Sequence[Variant], progress: Progress = SILENT
) -> tuple[Attempt, ...]:
    """Let the float model answer for data that are prepared otherwise, and for other labels.

    All are asked about a few samples, the best about more.

    Returns:
        The trials on most samples, the best first; one of them is the data as they are.
    """
    name = scores_output(graph)
    assert name is not None
    every = {"": evaluation.dataset, **{other.words: other.dataset for other in others}}
    screened = _affordable(graph, _SCREENED, len(every))
    tried = _affordable(graph, _TRIED, _BEST)
    total = len(every) * min(screened, len(evaluation)) + _BEST * min(tried, len(evaluation))
    with progress.stage("try other preprocessing", total=total) as advance:

        def ask(words: str, count: int) -> Attempt:
            said = Answers(classes_of(graph.tensors[name].shape))
            rows = _mixed(len(evaluation), min(count, len(evaluation)))
            for scores, labels in _scores(evaluation, every[words], name, rows):
                said = said.add(_best(scores), labels)
                advance(1)
            offset, fitted = said.fitted()
            return Attempt(words, offset, fitted)

        first = _ranked(ask(words, screened) for words in every)
        return _ranked(ask(trial.words, tried) for trial in first[:_BEST])


@dataclass(frozen=True)
class Better:
    """Another way to prepare data or labels that fits the model better than what was asked for.

    Attributes:
        found: the other way.
        asked: what the model says of the same samples as they are prepared now.
    """

    found: Attempt
    asked: Answers


def find_better(
    graph: Graph, evaluation: Evaluation, others: Sequence[Variant], progress: Progress = SILENT
) -> Better | None:
    """Look for other preparation with which the float model is right significantly more often.

    All are asked about a few samples, the best about others, as far as the budget goes: on samples
    that did not choose it, it is one hypothesis, however many preparations and label offsets there
    are to choose from. A model that is too large for that is not asked.

    Returns:
        The best one, if chance does not explain how much better it is; None if there is none.
    """
    name = scores_output(graph)
    room = _affordable(graph, (0, 1 << 30))
    few = min(_SCREENED[1], len(evaluation) // 2, room // (2 * _FEWEST_OTHERS))
    if name is None or few < _FEWEST_ROWS:
        return None
    every = {"": evaluation.dataset, **{other.words: other.dataset for other in others}}
    chosen = list(every)[: max(1, room // (2 * few))]
    most = min(_CONFIRMED, len(evaluation) - few, room // 4)
    mixed = _mixed(len(evaluation), few + most)
    with progress.stage("try other preprocessing", len(chosen) * few + 2 * most) as advance:

        def ask(words: str, rows: Sequence[int]) -> Answers:
            said = Answers(classes_of(graph.tensors[name].shape))
            for scores, labels in _scores(evaluation, every[words], name, rows):
                said = said.add(_best(scores), labels)
                advance(1)
            return said

        first = _ranked(Attempt(words, *ask(words, mixed[:few]).fitted()) for words in chosen)[0]
        if not first.words and not first.offset:
            return None  # nothing fits better than what was asked for
        asked = ask("", mixed[few:])
        said = (ask(first.words, mixed[few:]) if first.words else asked).moved(first.offset)
    gained, lost = said.beyond(asked), asked.beyond(said)
    odds = lost_by_chance(gained, lost)
    return Better(replace(first, answers=said), asked) if odds < _ABOVE else None


def _scores(
    evaluation: Evaluation, dataset: Samples, name: str, rows: Sequence[int]
) -> Iterator[tuple[Array, Array]]:
    labels = evaluation.labels
    assert labels is not None
    for index in rows:
        sample = replace(evaluation, dataset=dataset, inputs=None, outputs=None).sample(index)
        yield evaluation.reference.run(sample)[name], labels[index]


def _ranked(trials: Iterable[Attempt]) -> tuple[Attempt, ...]:
    """Sort by what is right; among equals, what is asked for in fewer words comes first."""

    def place(trial: Attempt) -> tuple[float, int, int]:
        return -trial.answers.top1, abs(trial.offset), len(trial.words)

    return tuple(sorted(trials, key=place))


def _best(scores: Array) -> Array:
    return np.asarray(scores.reshape(len(scores), -1).argmax(1))


def _mixed(total: int, count: int) -> list[int]:
    """Choose samples in an order that is mixed: data are often sorted by class."""
    return [int(i) for i in np.random.default_rng(0).permutation(total)[:count]]


def _affordable(graph: Graph, ends: tuple[int, int], times: int = 1) -> int:
    """Return how many samples of a model fit the budget, between two ends."""
    each = sum(macs(NodeView(graph, node)) for node in graph.nodes) * times
    fewest, most = ends
    return min(most, max(fewest, int(_BUDGET_S * _MACS_PER_S / max(each, 1))))
