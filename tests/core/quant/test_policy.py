"""A policy that gives each node a recipe of its own, from selection to the quantized model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Graph, NodeView, TensorType
from qhal.ir.ops import FullyConnected, Reduce
from qhal.ir.verify import verify
from qhal.quant.assign import assign
from qhal.quant.choice import Verdict
from qhal.quant.constraints import constrain
from qhal.quant.model import QuantModel
from qhal.quant.oracle import Oracle
from qhal.quant.select import select
from qhal.targets.capability import Capabilities, Capability, KernelRow
from qhal.targets.policy import Policy
from qhal.targets.recipe import RECIPES, Recipe, find_recipe
from qhal.targets.spec import FLOAT
from tests.core.quant.targets import INT8, INT16, weighted
from tests.core.quant.test_assign import seen

BY_NAME = {recipe.name: recipe for recipe in RECIPES}
ROWS = (weighted(), weighted(activation=INT16), KernelRow(FLOAT, FLOAT, FLOAT, FLOAT))
CAPS = Capabilities((Capability("FullyConnected", ROWS, "tests"),))
LAYERS = ("first", "second", "third")
WIDTH = 4


@dataclass(frozen=True)
class PerLayer:
    """A policy by name: w8a8 for all but a few nodes."""

    others: Mapping[str, str]
    name: str = "mixed"

    def recipe_for(self, view: NodeView) -> Recipe:
        return BY_NAME[self.others.get(view.node.name, "w8a8")]


def network() -> Graph:
    """Three fully connected layers."""
    rng, b = np.random.default_rng(5), GraphBuilder("g")
    x = b.input("x", TensorType((1, WIDTH)))
    for name in LAYERS:
        weight = b.constant(f"{name}_w", rng.normal(size=(WIDTH, WIDTH)).astype(np.float32))
        bias = b.constant(f"{name}_b", rng.normal(size=WIDTH).astype(np.float32))
        x = b.one(FullyConnected(), (x, weight, bias), name=name, output=f"{name}_out")
    return b.build(outputs=[x])


def inputs() -> np.ndarray:
    return np.linspace(-1, 1, WIDTH, dtype=np.float32).reshape(1, WIDTH)


def solve(policy: Policy) -> QuantModel:
    graph = network()
    names = ("x", *(f"{name}_out" for name in LAYERS))
    values = Oracle(QuantModel(graph)).run({"x": inputs()}, keep=names)
    stats = {name: seen(*values[name].ravel().tolist()) for name in names[1:]}
    stats["x"] = seen(-1, 1)
    return assign(constrain(graph, CAPS, policy), stats, "minmax").model


def test_one_layer_has_wider_activations_than_the_others() -> None:
    model = solve(PerLayer({"second": "w8a16"}))
    verify(model.graph)
    rows = {name: row.activation.dtype.value for name, row in model.kernels.items()}
    assert rows == {"first": "int8", "second": "int16", "third": "int8"}
    kinds = [node.op.kind for node in model.graph.nodes]
    layer = "FullyConnected"
    assert kinds == ["Quantize", layer, "Requantize", layer, "Requantize", layer, "Dequantize"]
    assert model.recipe == "mixed"


def test_one_layer_stays_in_float_because_its_recipe_says_so() -> None:
    choices = select(network(), CAPS, PerLayer({"second": "fp16"}))
    assert choices["first"].verdict is Verdict.NATIVE
    assert choices["second"].verdict is Verdict.FALLBACK
    assert "qhal knows no fp16 kernel" in choices["second"].reason


@pytest.mark.parametrize(("recipe", "in_float"), [("w8a8", True), ("w8a16", False)])
def test_a_mean_is_promoted_if_its_own_recipe_is_narrow(recipe: str, in_float: bool) -> None:
    b = GraphBuilder("g")
    x = b.input("x", TensorType((1, WIDTH)))
    mean = b.one(Reduce("Mean", (1,)), (x,), name="mean", output="y")
    rows = (KernelRow(INT8, INT8), KernelRow(INT16, INT16), KernelRow(FLOAT, FLOAT))
    caps = Capabilities((Capability("ReduceMean", rows, "tests"),))
    choice = select(b.build(outputs=[mean]), caps, PerLayer({"mean": recipe}))["mean"]
    assert choice.runs_in_float is in_float


@settings(max_examples=20, deadline=None)
@given(st.fixed_dictionaries({name: st.sampled_from(("w8a8", "w8a16")) for name in LAYERS}))
def test_every_layer_takes_a_row_of_its_own_recipe(others: dict[str, str]) -> None:
    model = solve(PerLayer(others))
    verify(model.graph)
    for name, recipe in others.items():
        assert BY_NAME[recipe].accepts(model.kernels[name], weighted=True)
    (expected,) = Oracle(QuantModel(network())).run({"x": inputs()}).values()
    (found,) = Oracle(model).run({"x": inputs()}).values()
    np.testing.assert_allclose(found, expected, atol=0.1 * float(np.abs(expected).max()))


def test_a_recipe_gives_every_node_itself() -> None:
    graph, recipe = network(), find_recipe("w8a16", CAPS, "mine")
    assert {recipe.recipe_for(NodeView(graph, node)) for node in graph.nodes} == {recipe}
    assert solve(recipe).recipe == "w8a16"
