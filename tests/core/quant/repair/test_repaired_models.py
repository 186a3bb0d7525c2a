"""Whole models: fitted weights of few bits come closer to the float model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qhal.data import Dataset
from qhal.decisions import Code
from qhal.ir.graph import Graph
from qhal.quant.assign import Assignment, assign
from qhal.quant.calibrate import calibrate
from qhal.quant.constraints import constrain
from qhal.quant.floatrun import FloatRun
from qhal.quant.oracle import Oracle
from qhal.quant.repair import Refit
from qhal.targets.capability import Capabilities, Capability, KernelRow
from qhal.targets.recipe import RECIPES
from qhal.targets.spec import SameAsInput
from tests.core.quant.repair.test_streams import data, network
from tests.core.quant.targets import INT8, WEIGHT, capabilities, weighted

BY_NAME = {recipe.name: recipe for recipe in RECIPES}


def few_bits(bits: int) -> Capabilities:
    """The invented target, whose layers take weights of few levels too."""
    few = replace(weighted(), weight=replace(WEIGHT, narrow_range=False, bits=bits))
    rows = tuple(Capability(kind, (few,), "tests") for kind in ("Conv", "FullyConnected"))
    relu = Capability("Relu", (KernelRow(INT8, SameAsInput()),), "tests")
    return capabilities(extra=(*rows, relu))


def solve(recipe: str, *, fit: bool) -> tuple[Graph, Assignment]:
    graph, samples, policy = network(), data(), BY_NAME[recipe]
    constraints = constrain(graph, few_bits(policy.weight_bits), policy)
    wanted = constraints.to_observe, constraints.to_average
    stats = calibrate(graph, samples, *wanted).stats
    refit = Refit(graph, samples) if fit else None
    return graph, assign(constraints, stats, "minmax", refit=refit)


def error(assignment: Assignment, samples: Dataset) -> float:
    """Mean squared error of the output against the float model."""
    exact, total = FloatRun(network(), ["out"]), 0.0
    oracle = Oracle(assignment.model)
    for index in range(len(samples)):
        inputs = samples.sample(index)
        there = exact.run(inputs)["out"]
        total += float(np.square(oracle.run(inputs)["out"] - there).mean())
    return total / len(samples)


@pytest.mark.parametrize("recipe", ["w4a8", "w3a8", "w2a8"])
def test_fitted_weights_are_closer_on_other_samples(recipe: str) -> None:
    unseen = data(np.random.default_rng(99).normal(size=(40, 2, 4, 4)).astype(np.float32))
    plain, fitted = (error(solve(recipe, fit=fit)[1], unseen) for fit in (False, True))
    assert fitted < plain


def test_each_layer_is_told() -> None:
    _, fitted = solve("w4a8", fit=True)
    told = [d.subject for d in fitted.decisions if d.code is Code.WEIGHTS_FITTED]
    assert told == ["first", "second", "out"]


def test_weights_of_eight_bits_are_not_fitted() -> None:
    _, kept = solve("w8a8", fit=True)
    assert Code.WEIGHTS_FITTED not in {decision.code for decision in kept.decisions}


def test_the_same_data_give_the_same_integers() -> None:
    one, other = (solve("w4a8", fit=True)[1].model.graph.constants for _ in range(2))
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name])
