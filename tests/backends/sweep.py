"""All samples of an operator in one graph, on the way of every model to a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from qhal.artifact.runnable import Subject
from qhal.data import Dataset, load_dataset
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Array, Graph
from qhal.ir.layout.laid_out import LaidOut, to_layout
from qhal.legal.legalize import Legalized, legalize
from qhal.pipeline.served import Served, find_target
from qhal.quant.assign import assign
from qhal.quant.calibrate import calibrate
from qhal.quant.choice import Choices
from qhal.quant.constraints import constrain
from qhal.quant.model import QuantModel
from qhal.quant.select import select
from qhal.testing.samples import ATTRIBUTES, EDGES, SAMPLES, Sample, random_data

FLOAT = "float"
"""Instead of a recipe: the model as it is."""

KINDS = tuple(sorted({sample.op.kind for sample in ATTRIBUTES}))


RECURRENT = frozenset({"Gru", "Lstm", "Rnn"})


@dataclass(frozen=True, eq=False)
class Swept:
    """What a target takes of an operator's samples, lowered.

    Attributes:
        graph: one node for each sample, with inputs of its own.
        labels: output of the graph -> its sample.
        data: for all inputs.
        subject: the artifact.
    """

    graph: Graph
    labels: Mapping[str, str]
    data: Dataset
    subject: Subject


def sweep(kind: str, target: str, recipe: str) -> Swept | None:
    """Lower all samples that a target takes; None if there are none.

    What the target refuses is left out: nothing else may be refused later.
    """
    served = find_target(target, "w8a8" if recipe == FLOAT else recipe)
    samples = dict(enumerate(samples_of(kind)))
    _, laid, choices = _prepared(joined(samples), served)
    del laid
    refused = {_index(name) for name, choice in choices.items() if choice.row is None}
    taken = {index: sample for index, sample in samples.items() if index not in refused}
    return _lowered(taken, served, recipe) if taken else None


@cache
def samples_of(kind: str) -> tuple[Sample, ...]:
    """All samples of an operator; of recurrent ones, which become hundreds of nodes, a third."""
    found = tuple(s for s in (*SAMPLES, *EDGES, *ATTRIBUTES) if s.op.kind == kind)
    return found[::3] if kind in RECURRENT else found


def joined(samples: Mapping[int, Sample]) -> Graph:
    """One graph of many samples; names say which."""
    builder, made = GraphBuilder("sweep"), list[str]()
    for index, sample in samples.items():
        made += sample.add_to(builder, f"s{index}_")
    return builder.build(outputs=made)


def _index(name: str) -> int:
    return int(name[1:].partition("_")[0])


def _prepared(graph: Graph, served: Served) -> tuple[Legalized, LaidOut, Choices]:
    caps = served.target.caps
    legal = legalize(graph, caps)
    laid = to_layout(legal.graph, caps.layout)
    return legal, laid, select(laid.graph, caps, served.target.policy)


def _lowered(samples: Mapping[int, Sample], served: Served, recipe: str) -> Swept:
    graph = joined(samples)
    data = _data(graph, samples)
    legal, laid, choices = _prepared(graph, served)
    if recipe == FLOAT:
        model = QuantModel(laid.graph)
    else:
        constraints = constrain(laid.graph, served.target.caps, served.target.policy, choices)
        to_observe = laid.sources_of(constraints.to_observe)
        found = calibrate(legal.graph, data, to_observe, laid.sources_of(constraints.to_average))
        stats = laid.with_sources(found.stats)
        model = assign(constraints, stats, "minmax", laid.element_order).model
    labels = {name: str(samples[_index(name)]) for name in graph.outputs}
    return Swept(graph, labels, data, served.lower(model))


def _data(graph: Graph, samples: Mapping[int, Sample]) -> Dataset:
    arrays: dict[str, Array] = {}
    for index, sample in samples.items():
        alone = random_data(joined({index: sample}), sample.low, sample.high)
        drawn = [alone.sample(position) for position in range(len(alone))]
        arrays |= {name: np.stack([draw[name] for draw in drawn]) for name in drawn[0]}
    return load_dataset(arrays, {name: graph.tensors[name] for name in graph.inputs})


def worst(found: Sequence[tuple[float, str]]) -> str:
    """The worst figures with their samples, for the message of a test."""
    return "; ".join(f"{label}: {figure:.1f}" for figure, label in sorted(found)[:5])
