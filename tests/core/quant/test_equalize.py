from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qhal.data import Dataset, load_dataset
from qhal.decisions import Code
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Array, Graph, TensorType
from qhal.quant.equalize import equalize, find_chains, rescale, survey
from qhal.quant.model import QuantModel
from qhal.quant.oracle import Oracle

CHANNELS = 4
RANGES = np.array([64.0, 8.0, 1.0, 0.25], np.float32)
"""Factors between the channels of the networks below."""

BETWEEN: Mapping[str, ops.Op] = {
    "Relu": ops.Relu(),
    "LeakyRelu": ops.LeakyRelu(0.1),
    "Silu": ops.Silu(),
    "MaxPool": ops.MaxPool((2, 2), (1, 1), (0, 0, 0, 0)),
    "AveragePool": ops.AveragePool((2, 2), (1, 1), (0, 1, 0, 1)),
    "Pad": ops.Pad((0, 0, 1, 1, 0, 0, 1, 0)),
    "Resize": ops.Resize("nearest", (9, 7)),
}


def network(between: list[ops.Op], *, multiplier: int = 1, bias: bool = True) -> Graph:
    """A convolution, some operators, a depthwise convolution and another convolution."""
    random = np.random.default_rng(0)

    def values(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    builder = GraphBuilder("network")
    x = builder.input("x", TensorType((1, 3, 8, 8)))
    ones, none = (1, 1), (0, 0, 0, 0)
    first = values(CHANNELS, 3, 1, 1) * RANGES.reshape(-1, 1, 1, 1)
    biases = [builder.constant("b", np.abs(values(CHANNELS)) * RANGES)] if bias else []
    made = builder.one(ops.Conv(ones, none, ones), [x, builder.constant("w", first), *biases])
    for op in between:
        made = builder.one(op, [made])
    outputs = CHANNELS * multiplier
    spread = np.repeat(RANGES, multiplier).reshape(-1, 1, 1, 1)
    weight = builder.constant("d", values(outputs, 1, 3, 3) / spread)
    made = builder.one(ops.DepthwiseConv(ones, none, ones, multiplier), [made, weight])
    last = builder.constant("l", values(2, outputs, 1, 1))
    return builder.build(outputs=[builder.one(ops.Conv(ones, none, ones), [made, last])])


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 3, 8, 8)).astype(np.float32)


def dataset(graph: Graph, volume: float = 1.0) -> Dataset:
    inputs = {name: graph.tensors[name] for name in graph.inputs}
    data = {"x": images() * np.float32(volume)}
    return load_dataset(data, inputs, preprocess=None, labels=None, label_offset=0)


def result(graph: Graph, keep: tuple[str, ...] = (), volume: float = 1.0) -> dict[str, Array]:
    return Oracle(QuantModel(graph)).run({"x": images(1) * np.float32(volume)}, keep=keep)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(sorted(BETWEEN)), max_size=3),
    st.lists(st.integers(1, 255), min_size=CHANNELS, max_size=CHANNELS),
    st.sampled_from((1, 2)),
    st.booleans(),
)
def test_no_scale_changes_a_result(
    names: list[str], steps: list[int], multiplier: int, bias: bool
) -> None:
    graph = network([BETWEEN[name] for name in names], multiplier=multiplier, bias=bias)
    (chain,) = find_chains(graph)
    scaled = rescale(graph, [chain], {chain.tensor: np.array(steps, np.float32) / np.float32(255)})
    (expected,), (found,) = result(graph).values(), result(scaled).values()
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4 * float(np.abs(expected).max()))


def test_powers_of_two_change_no_bit() -> None:
    graph = network([ops.Relu()])
    (chain,) = find_chains(graph)
    scaled = rescale(graph, [chain], {chain.tensor: np.array([1, 0.5, 0.25, 2], np.float32)})
    (expected,), (found,) = result(graph).values(), result(scaled).values()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("between", [[ops.Relu()], [ops.Silu()], []], ids=["relu", "silu", "none"])
def test_all_channels_get_the_range_of_the_largest(between: list[ops.Op]) -> None:
    graph = network(between)
    findings = survey(graph, dataset(graph))
    found = equalize(graph, findings)
    tensor = findings[0].chain.tensor
    before, after = (
        np.abs(result(g, (tensor,))[tensor]).max(axis=(0, 2, 3)) for g in (graph, found.graph)
    )
    assert before.max() > 50 * before.min()
    assert after.max() < 10 * after.min()
    assert [decision.code for decision in found.decisions] == [Code.EQUALIZED]
    assert found.decisions[0].subject == tensor


def test_the_names_of_tensors_stay() -> None:
    graph = network([ops.Relu()])
    found = equalize(graph, survey(graph, dataset(graph))).graph
    assert [node.outputs for node in found.nodes] == [node.outputs for node in graph.nodes]


def test_a_silu_stays_where_the_gain_is_small() -> None:
    graph = network([ops.Silu()])
    (finding,) = survey(graph, dataset(graph))
    assert finding.gain_db > 10
    gated = equalize(graph, [finding]).graph
    assert [n.op.kind for n in gated.nodes][1:4] == ["Mul", "Sigmoid", "Mul"]
    object.__setattr__(finding, "gain_db", 9.0)
    assert equalize(graph, [finding]).graph is graph


def test_a_relu6_cuts_off_far_above_what_was_seen() -> None:
    graph = network([ops.Relu6(), ops.AveragePool((2, 2), (2, 2), (0, 0, 0, 0))])
    clipped, quiet = graph.nodes[1].outputs[0], 0.1
    (finding,) = survey(graph, dataset(graph, quiet))
    found = equalize(graph, [finding])
    assert "3 times the largest value seen" in found.decisions[0].sentence
    before, after = (result(g, (clipped,), quiet) for g in (graph, found.graph))
    (name,) = graph.outputs
    near = 1e-4 * float(np.abs(before[name]).max())
    assert after[name] == pytest.approx(before[name], rel=1e-4, abs=near)

    limits = [result(g, (clipped,), 1e4)[clipped].max(axis=(0, 2, 3)) for g in (graph, found.graph)]
    np.testing.assert_array_equal(limits[0], 6)
    cut_off = limits[1] * finding.scale
    assert np.all(cut_off >= np.minimum(6, 3 * before[clipped].max(axis=(0, 2, 3))) - 1e-4)
    assert np.all(cut_off >= 0.37)
    assert cut_off.min() < 1 < 5.9 < cut_off.max()


def test_a_relu6_stays_where_the_gain_is_small() -> None:
    graph = network([ops.Relu6()])
    (finding,) = survey(graph, dataset(graph))
    object.__setattr__(finding, "gain_db", 5.0)
    assert equalize(graph, [finding]).graph is graph


def test_a_channel_that_was_never_seen_is_scaled_by_255_at_most() -> None:
    graph = network([ops.Relu()])
    weight, bias = graph.nodes[0].inputs[1:]
    constants = dict(graph.constants)
    for name in (weight, bias):
        constants[name] = constants[name].copy()
        constants[name][2] = 0
    silent = graph.with_nodes(graph.nodes, constants=constants)
    (finding,) = survey(silent, dataset(silent))
    assert finding.scale[2] == np.float32(1 / 255)


@pytest.mark.parametrize(
    "between",
    [[ops.Sigmoid()], [ops.Pad((0, 0, 1, 1, 0, 0, 1, 1), value=1.0)]],
    ids=["sigmoid", "pad"],
)
def test_what_does_not_let_a_scale_pass_is_left_alone(between: list[ops.Op]) -> None:
    assert find_chains(network(between)) == ()


def test_a_second_reader_or_an_output_keeps_the_tensor_as_it_is() -> None:
    graph = network([ops.Relu()])
    tensor = graph.nodes[1].outputs[0]
    builder = GraphBuilder(start=graph)
    for node in graph.nodes:
        builder.emit(node)
    other = builder.one(ops.Sigmoid(), [tensor])
    assert find_chains(builder.build(outputs=[*graph.outputs, other])) == ()
    assert find_chains(builder.build(outputs=[*graph.outputs, tensor])) == ()


def test_nothing_is_run_without_a_depthwise_convolution() -> None:
    builder = GraphBuilder("plain")
    x = builder.input("x", TensorType((1, 3, 8, 8)))
    graph = builder.build(outputs=[builder.one(ops.Relu(), [x])])
    assert survey(graph, dataset(graph)) == ()
    assert equalize(graph, ()).graph is graph
