"""Passes over the float graph: their order, and when equalization is one that changes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from qhal.data import load_dataset, split
from qhal.decisions import Code, Decision
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Graph, Node, NodeView, TensorType
from qhal.ir.importer import Imported
from qhal.pipeline.float_passes import (
    EQUALIZATION,
    FLOAT_PASSES,
    FloatPass,
    run_float_passes,
)
from qhal.pipeline.options import Options
from qhal.pipeline.prepare import Prepared, prepare
from qhal.pipeline.session import Session
from qhal.pipeline.stages import Stages
from qhal.quant.equalize import Finding, find_chains
from qhal.quant.rewritten import Rewritten
from qhal.targets.capability import Capability, KernelRow
from qhal.targets.policy import Policy
from qhal.targets.recipe import RECIPES, Recipe
from qhal.targets.spec import Derived, PerAxis, PerTensor, QuantSpec
from qhal.targets.target import Target
from tests.core.quant.targets import INT8, INT16, WEIGHT, capabilities, weighted

PER_TENSOR = QuantSpec(INT8.dtype, PerTensor(), symmetric=True)
PER_CHANNEL = QuantSpec(INT8.dtype, PerAxis())
W8A8, W8A16 = RECIPES[:2]


@dataclass(frozen=True)
class Shared:
    """What of a session the passes read."""

    findings: tuple[Finding, ...]

    def survey(self, graph: Graph) -> tuple[Finding, ...]:
        return self.findings


@dataclass(frozen=True)
class WideDepthwise:
    """16 bits for depthwise convolutions alone."""

    name: str = "mixed"

    def recipe_for(self, view: NodeView) -> Recipe:
        return W8A16 if isinstance(view.op, ops.DepthwiseConv) else W8A8


def ready(
    activation: QuantSpec = INT8,
    weight: QuantSpec = WEIGHT,
    *,
    policy: Policy = W8A8,
    silu: bool = False,
    first: tuple[float, float] = (1.0, 1.0),
    extra: tuple[Capability, ...] = (),
) -> tuple[Prepared, Finding]:
    """A convolution and a depthwise one, for a target whose depthwise kernel is as given."""
    builder = GraphBuilder("network")
    x = builder.input("x", TensorType((1, 2, 4, 4)))
    filters = np.array(first, np.float32).reshape(2, 1, 1, 1) * np.ones((2, 2, 1, 1), np.float32)
    weight_of_first = builder.constant("w", filters)
    made = builder.one(ops.Conv((1, 1), (0, 0, 0, 0), (1, 1)), [x, weight_of_first])
    made = builder.one(ops.Silu(), [made]) if silu else made
    depth = builder.constant("d", np.ones((2, 1, 1, 1), np.float32))
    made = builder.one(ops.DepthwiseConv((1, 1), (0, 0, 0, 0), (1, 1)), [made, depth])
    graph = builder.build(outputs=[made])
    rows = (
        KernelRow(activation, INT8, weight=weight, bias=Derived()),
        weighted(activation=INT16),
    )
    caps = capabilities(floats=False, extra=(Capability("DepthwiseConv", rows, "tests"), *extra))
    target = Target(cast(Any, None), caps, policy)
    (chain,) = find_chains(graph)
    scale = np.array([1.0, 0.1], np.float32)
    gain_db = 30.0 if silu else 3.0
    return prepare(target, Imported(graph, (), "", 13, 0)), Finding(chain, scale, scale, gain_db)


def run(
    model: Prepared, *findings: Finding, passes: Sequence[FloatPass] = FLOAT_PASSES
) -> Prepared:
    return run_float_passes(model, cast(Session, Shared(findings)), Stages(), passes)


# --- the list ---------------------------------------------------------------------


def _renaming(name: str) -> FloatPass:
    """A pass that calls the graph by its own name behind the name that it had."""

    def rename(model: Prepared, session: Session) -> Rewritten:
        builder = GraphBuilder(f"{model.imported.graph.name}/{name}", start=model.imported.graph)
        for node in model.imported.graph.nodes:
            builder.emit(node)
        return Rewritten(builder.build(), (Decision(Code.EQUALIZED, f"{name}.", name),))

    return FloatPass(name, lambda model: True, rename)


def test_each_pass_reads_what_the_one_before_it_made() -> None:
    before, _ = ready()
    after = run(before, passes=(_renaming("one"), _renaming("two")))
    assert after.imported.graph.name == after.laid.graph.name == "network/one/two"
    assert [decision.subject for decision in after.decisions] == ["one", "two"]


def test_each_pass_is_timed_under_its_name_in_order() -> None:
    before, _ = ready()
    stages = Stages()
    passes = (_renaming("two"), _renaming("one"))
    run_float_passes(before, cast(Session, Shared(())), stages, passes)
    assert list(stages.timings_s) == ["two", "one"]


def test_a_pass_that_does_not_apply_is_not_run() -> None:
    def fail(model: Prepared, session: Session) -> Rewritten:
        raise AssertionError("it was run")

    before, _ = ready()
    assert run(before, passes=(FloatPass("no", lambda model: False, fail),)) is before


def test_equalization_is_a_pass_of_every_deployment() -> None:
    assert EQUALIZATION in FLOAT_PASSES
    assert EQUALIZATION.name == "equalize"


# --- equalization -----------------------------------------------------------------


def _doubling() -> FloatPass:
    """A pass that doubles the first weight, and thereby every channel behind it."""

    def double(model: Prepared, session: Session) -> Rewritten:
        graph = model.imported.graph
        builder = GraphBuilder("doubled", start=graph)
        for node in graph.nodes:
            first = node.op.kind == "Conv"
            builder.emit(_with_weight(builder, node, np.float32(2)) if first else node)
        return Rewritten(builder.build(), ())

    return FloatPass("double", lambda model: True, double)


def _with_weight(builder: GraphBuilder, node: Node, factor: np.float32) -> Node:
    """The node with its weight times a factor."""
    data, weight = node.inputs
    value = np.asarray(builder.value(weight), np.float32)
    return replace(node, inputs=(data, builder.constant(f"{weight}__doubled", value * factor)))


def uneven_session(graph: Graph) -> Session:
    """A session over a graph that no file holds."""
    session = Session(Path("none.onnx"), Options({"x": np.ones((3, 1, 2, 4, 4), np.float32)}))
    inputs = {name: graph.tensors[name] for name in graph.inputs}
    data = load_dataset(session.options.data, inputs)
    vars(session).update(_imported=Imported(graph, (), "", 13, 0), _data=split(data, 2))
    return session


def test_equalization_surveys_what_the_pass_before_it_made() -> None:
    before, _ = ready(first=(1.0, 0.1))
    session = uneven_session(before.imported.graph)
    alone = run_float_passes(before, session, Stages(), (EQUALIZATION,))
    both = run_float_passes(before, session, Stages(), (_doubling(), EQUALIZATION))
    peaks = [_range_of(after) for after in (alone, both)]
    assert peaks == ["from 0.2 to 2", "from 0.4 to 4"]
    weights = [np.abs(_made_by_the_first(after)) for after in (alone, both)]
    np.testing.assert_allclose(weights[1], 2 * weights[0], rtol=1e-6)


def _range_of(after: Prepared) -> str:
    (decision,) = (d for d in after.decisions if d.code is Code.EQUALIZED)
    return decision.sentence.partition("peaks ")[2].partition(". ")[0]


def _made_by_the_first(after: Prepared) -> np.ndarray:
    graph = after.imported.graph
    return np.asarray(graph.constants[graph.nodes[0].inputs[1]])


def test_targets_with_the_same_graph_share_a_survey() -> None:
    before, _ = ready(first=(1.0, 0.1))
    graph = before.imported.graph
    session = uneven_session(graph)
    assert session.survey(graph) is session.survey(graph)
    other = _doubling().run(before, session).graph
    assert session.survey(other) is not session.survey(graph)


def test_the_model_is_prepared_again_and_the_record_says_why() -> None:
    before, finding = ready()
    after = run(before, finding)
    assert [decision.code for decision in after.decisions] == [Code.EQUALIZED]
    assert after.choices.keys() == before.choices.keys()
    assert after.imported.graph is not before.imported.graph


def test_nothing_is_prepared_again_without_a_finding() -> None:
    before, _ = ready()
    assert run(before) is before


def test_a_kernel_with_a_scale_per_channel_needs_no_help() -> None:
    before, finding = ready(activation=PER_CHANNEL)
    assert run(before, finding) is before


def test_weights_with_one_scale_are_not_made_less_even() -> None:
    before, finding = ready(weight=PER_TENSOR)
    assert run(before, finding) is before


@pytest.mark.parametrize("policy", [W8A16, WideDepthwise()])
def test_a_chain_whose_nodes_have_16_bits_is_left_alone(policy: Policy) -> None:
    before, finding = ready(policy=policy)
    assert run(before, finding) is before


def test_nothing_is_surveyed_where_no_node_is_narrow() -> None:
    assert not EQUALIZATION.applies(ready(policy=W8A16)[0])
    assert EQUALIZATION.applies(ready(policy=WideDepthwise())[0])


def test_a_silu_is_rewritten_only_where_the_target_has_what_that_takes() -> None:
    before, finding = ready(silu=True)
    assert run(before, finding) is before
    product = Capability("Mul", (KernelRow(INT8, INT8),), "tests")
    before, finding = ready(silu=True, extra=(product,))
    kinds = [node.op.kind for node in run(before, finding).imported.graph.nodes]
    assert kinds == ["Conv", "Mul", "Sigmoid", "Mul", "DepthwiseConv"]
