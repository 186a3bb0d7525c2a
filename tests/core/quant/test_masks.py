from __future__ import annotations

from math import exp, inf, tanh

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Graph, TensorType
from qhal.quant.collectors import StatsCollector
from qhal.quant.masks import (
    EVERYWHERE,
    SILU_LOW,
    clip_stats,
    useful_range,
)
from qhal.quant.range_estimators import RANGE_ESTIMATORS
from qhal.targets.spec import QuantSpec


def reader(*readers: ops.Op) -> Graph:
    """A tensor ``x`` that is read by some operators."""
    builder = GraphBuilder("reader")
    x = builder.input("x", TensorType((1, 8)))
    return builder.build(outputs=[builder.one(op, [x]) for op in readers])


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (ops.HardSwish(), (-3.0, inf)),
        (ops.HardSigmoid(0.25, 0.5), (-2.0, 2.0)),
        (ops.HardSigmoid(-0.25, 0.5), (-2.0, 2.0)),
        (ops.Clip(-1.0, 2.0), (-1.0, 2.0)),
        (ops.Relu(), (0.0, inf)),
        (ops.Relu6(), (0.0, 6.0)),
        (ops.Silu(), (SILU_LOW, inf)),
        (ops.Gelu(), EVERYWHERE),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_a_reader_that_saturates_limits_the_useful_range(
    op: ops.Op, expected: tuple[float, float]
) -> None:
    assert useful_range(reader(op), "x", 8) == expected


@pytest.mark.parametrize("bits", [8, 16])
def test_beyond_the_range_a_sigmoid_and_a_tanh_are_within_half_a_step_of_their_limits(
    bits: int,
) -> None:
    low, high = useful_range(reader(ops.Sigmoid()), "x", bits)
    assert 1 / (1 + exp(-low)) <= 0.5 * 2.0**-bits
    assert 1 - 1 / (1 + exp(-high)) <= 0.5 * 2.0**-bits
    low, high = useful_range(reader(ops.Tanh()), "x", bits)
    assert 1 - tanh(high) == pytest.approx(0.5 * 2.0 ** (1 - bits), rel=0.01)
    assert low == -high


def test_what_a_silu_loses_is_less_than_half_a_step_of_a_result_that_reaches_1_4() -> None:
    assert SILU_LOW / (1 + exp(-SILU_LOW)) > -0.5 * 1.4 / 255


def test_all_readers_count() -> None:
    assert useful_range(reader(ops.Relu6(), ops.HardSwish()), "x", 8) == (-3.0, inf)
    assert useful_range(reader(ops.Relu6(), ops.Gelu()), "x", 8) == EVERYWHERE


def test_a_silu_of_two_operators_is_recognized() -> None:
    builder = GraphBuilder("silu")
    x = builder.input("x", TensorType((1, 8)))
    gate = builder.one(ops.Sigmoid(), [x])
    graph = builder.build(outputs=[builder.one(ops.Mul(), [gate, x])])
    assert useful_range(graph, "x", 8) == (SILU_LOW, inf)
    assert useful_range(graph, gate, 8) == EVERYWHERE


def test_an_output_is_useful_everywhere() -> None:
    builder = GraphBuilder("output")
    x = builder.input("x", TensorType((1, 8)))
    y = builder.one(ops.Unary("Neg"), [x])
    graph = builder.build(outputs=[y, builder.one(ops.Relu(), [y])])
    assert useful_range(graph, y, 8) == EVERYWHERE


def test_clipped_statistics_are_those_of_clipped_values() -> None:
    values = np.random.default_rng(0).normal(size=4000).astype(np.float32) * 4
    whole, cut = StatsCollector(), StatsCollector()
    whole.update(values)
    cut.update(np.clip(values, -2.0, 3.0))
    found, expected = clip_stats(whole.stats(), (-2.0, 3.0)), cut.stats()
    assert (found.minimum, found.maximum) == (expected.minimum, expected.maximum)
    assert found.histogram.total == expected.histogram.total
    inside = (found.histogram.edges[0], found.histogram.edges[-1])
    assert inside[0] <= -2.0 < inside[0] + found.histogram.width
    assert inside[1] - found.histogram.width <= 3.0 <= inside[1]


def test_statistics_within_the_range_stay_as_they_are() -> None:
    collector = StatsCollector()
    collector.update(np.linspace(-1, 1, 100, dtype=np.float32))
    stats = collector.stats()
    assert clip_stats(stats, (-2.0, inf)) is stats


def test_statistics_that_lie_outside_of_a_range_are_its_nearer_end() -> None:
    collector = StatsCollector()
    collector.update(np.linspace(-7, -2, 100, dtype=np.float32))
    found = clip_stats(collector.stats(), (1.0, 6.0))
    assert (found.minimum, found.maximum) == (1.0, 1.0)
    assert found.histogram.total == 100
    assert found.histogram.edges[0] <= 1.0 <= found.histogram.edges[-1]
    for estimate in RANGE_ESTIMATORS.values():
        assert estimate(found, QuantSpec(DType.INT8)) == (1.0, 1.0)
