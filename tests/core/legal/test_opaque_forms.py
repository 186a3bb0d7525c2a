"""What replaces an opaque node computes what ONNX Runtime computes with the node."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from qhal.decisions import Code
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Graph
from qhal.ir.importer import import_model
from qhal.legal.decompose import insert
from qhal.legal.forms.draft import Draft
from qhal.legal.forms.opaque.table import OPAQUE_FORMS
from qhal.pipeline.check import check
from tests.core.ir_graphs import run
from tests.operators.cases import Case
from tests.operators.running import by_kind, close, expected, first, newest

BEYOND = {
    "ScatterElements": "its indices are an input",
    "ScatterND": "its indices are an input",
    "MaxPool": "the indices of the maxima are used",
}
"""Operators of which a case has no form, and why."""


UNRUN = frozenset({"GRU", "LSTM", "RNN", "Resize"})
"""Operators of which ONNX Runtime does not run every case."""


def imported(model: onnx.ModelProto, path: Path) -> Graph:
    onnx.save(model, path)
    return import_model(path).graph


def others(graph: Graph) -> list[Graph]:
    """The graph in each form of its opaque node."""
    (node,) = (node for node in graph.nodes if isinstance(node.op, ops.Opaque))
    found = []
    for form in OPAQUE_FORMS[node.op.kind]:
        builder = GraphBuilder(start=graph)
        draft = Draft(builder, node)
        results = form(draft)
        for inner in graph.nodes:
            if inner is not node:
                builder.emit(inner)
            elif results is not None:
                insert(builder, node, draft.finished(results))
        if results is not None:
            found.append(builder.build())
    return found


def is_fed(case: Case, graph: Graph) -> bool:
    (node,) = (node for node in graph.nodes if isinstance(node.op, ops.Opaque))
    return len(node.outputs) > 1 or node.inputs[1] not in graph.constants


def checked(case: Case, path: Path) -> int:
    """Compare each form with ONNX Runtime; return how many there were."""
    model, feeds = case.model(newest(case)), first(case)
    wanted = expected(model, feeds)
    if wanted is None:
        assert case.kind in UNRUN, f"ONNX Runtime does not run {case}"
        return 0
    graph = imported(model, path)
    if not any(isinstance(node.op, ops.Opaque) for node in graph.nodes):
        return 0
    made = others(graph)
    if not made:
        assert graph.nodes[0].op.kind in BEYOND and is_fed(case, graph), f"{case} has no form"
    for other in made:
        found = run(other, {name: feeds[name] for name in graph.inputs})
        for name, value in zip(graph.outputs, wanted, strict=True):
            assert close(value, np.asarray(found[name]), 2e-5), case
    return len(made)


@pytest.mark.parametrize("kind", sorted(OPAQUE_FORMS))
def test_forms_compute_what_the_node_computes(kind: str, tmp_path: Path) -> None:
    count = sum(checked(case, tmp_path / "model.onnx") for case in by_kind()[kind])
    assert count, "no form was tried"


def codes(path: Path, target: str) -> set[Code]:
    return {decision.code for decision in check(path, target=target).decisions}


def test_only_a_node_that_stays_is_said_to_stay(tmp_path: Path) -> None:
    path, case = tmp_path / "model.onnx", by_kind()["CumSum"][0]
    onnx.save(case.model(newest(case)), path)
    assert Code.OPAQUE in codes(path, "cpu")
    found = codes(path, "tflite")
    assert Code.OPAQUE not in found
    assert Code.DECOMPOSED in found
