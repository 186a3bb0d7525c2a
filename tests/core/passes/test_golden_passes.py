"""What each pass of the line makes of three small models, as text.

``pytest --update-goldens tests/core/passes`` writes the texts again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import onnx
import pytest

from qhal.decisions import Decision
from qhal.ir.graph import Graph
from qhal.ir.importer import Imported, import_model
from qhal.ir.layout.laid_out import LaidOut, to_layout
from qhal.ir.onnx.load import load
from qhal.ir.onnx.reader import read
from qhal.ir.simplify import simplify
from qhal.ir.text import to_text
from qhal.legal.fuse import fuse_activations
from qhal.legal.legalize import Legalized, legalize
from qhal.quant.assign import Assignment, assign
from qhal.quant.calibrate import calibrate
from qhal.quant.choice import Choice
from qhal.quant.constraints import Constraints, constrain
from qhal.quant.equalize import equalize, survey
from qhal.quant.select import select
from qhal.quant.settle import settle
from qhal.targets.recipe import find_recipe
from tests.conftest import Golden
from tests.core.passes.models import CAPS, MODELS, data_of

RECIPE = find_recipe("w8a8", CAPS, "an invented NPU")


@dataclass(frozen=True)
class Line:
    """The passes over one model, each made when it is asked for."""

    path: Path

    @cached_property
    def imported(self) -> Imported:
        return import_model(self.path, {})

    @cached_property
    def legal(self) -> Legalized:
        return legalize(self.imported.graph, CAPS)

    @cached_property
    def laid(self) -> LaidOut:
        return to_layout(self.legal.graph, CAPS.layout)

    @cached_property
    def choices(self) -> Mapping[str, Choice]:
        return select(self.laid.graph, CAPS, RECIPE)

    @cached_property
    def constraints(self) -> Constraints:
        return constrain(self.laid.graph, CAPS, RECIPE, self.choices)

    @cached_property
    def assigned(self) -> Assignment:
        wanted = self.constraints
        data = data_of(self.imported.graph)
        found = calibrate(self.legal.graph, data, wanted.to_observe, wanted.to_average)
        return assign(wanted, found.stats, "minmax", self.laid.element_order)


def read_text(line: Line) -> str:
    graph, decisions = read(load(line.path), {})
    return text(graph, decisions)


def import_text(line: Line) -> str:
    return text(line.imported.graph, line.imported.decisions)


def equalize_text(line: Line) -> str:
    graph = line.imported.graph
    found = equalize(graph, survey(graph, data_of(graph)))
    return text(found.graph, found.decisions)


def simplify_text(line: Line) -> str:
    return to_text(simplify(line.imported.graph))


def fuse_text(line: Line) -> str:
    return to_text(fuse_activations(simplify(line.imported.graph), CAPS))


def legalize_text(line: Line) -> str:
    return text(line.legal.graph, line.legal.decisions)


def layout_text(line: Line) -> str:
    return text(line.laid.graph, line.laid.decisions)


def select_text(line: Line) -> str:
    """One line per node: the verdict, the row, where that is written, the reason."""
    return "".join(f"{name}: {described(choice)}\n" for name, choice in line.choices.items())


def described(choice: Choice) -> str:
    row = "-" if choice.row is None else choice.row.name
    reason = f": {choice.reason}" if choice.reason else ""
    return f"{choice.verdict.value}, {row} ({choice.source}){reason}"


def constrain_text(line: Line) -> str:
    """The graph with its types, what they may look like, and what shares parameters."""
    typed, groups = line.constraints.qdq, line.constraints.groups
    shared = "".join(f"same   {', '.join(sorted(group))}\n" for group in groups if len(group) > 1)
    return text(typed.graph, line.constraints.decisions, typed.specs) + shared


def settle_text(line: Line) -> str:
    """The choices once ranges are measured."""
    wanted, graph = line.constraints, line.laid.graph
    found = calibrate(
        line.legal.graph,
        data_of(line.imported.graph),
        wanted.to_observe,
        wanted.to_average,
        also=line.legal.graph.tensors,
    )
    stats = line.laid.with_sources(found.stats)
    settled = settle(graph, CAPS, wanted, stats, "minmax").constraints
    return "".join(f"{name}: {described(choice)}\n" for name, choice in settled.choices.items())


def assign_text(line: Line) -> str:
    model = line.assigned.model
    return text(model.graph, line.assigned.decisions, model.params)


def text(
    graph: Graph, decisions: tuple[Decision, ...], params: Mapping[str, object] | None = None
) -> str:
    return "".join(
        (to_text(graph, params), *(f"note   {d.code.id} {d.subject}\n" for d in decisions))
    )


PASSES = {
    "read": read_text,
    "import": import_text,
    "simplify": simplify_text,
    "equalize": equalize_text,
    "fuse": fuse_text,
    "legalize": legalize_text,
    "layout": layout_text,
    "select": select_text,
    "constrain": constrain_text,
    "settle": settle_text,
    "assign": assign_text,
}


@pytest.fixture(scope="module", params=MODELS)
def line(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Line]:
    path = tmp_path_factory.mktemp("passes") / f"{request.param}.onnx"
    onnx.save(MODELS[request.param](), path)
    yield Line(path)


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_makes_what_it_made(line: Line, name: str, golden: Golden) -> None:
    golden(f"{name}/{line.path.stem}.txt", PASSES[name](line))
