"""From constraints and statistics to a quantized model."""

from __future__ import annotations

import numpy as np

from qhal.decisions import Code
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Graph
from qhal.ir.ops import Add, Concat, Sigmoid
from qhal.ir.text import to_text
from qhal.ir.verify import verify
from qhal.quant.assign import Assignment, assign
from qhal.quant.collectors import StatsCollector, TensorStats
from qhal.quant.constraints import constrain
from tests.core.quant.targets import capabilities
from tests.core.quant.test_constraints import W8A8, layer, start


def seen(*values: float, mean: np.ndarray | None = None) -> TensorStats:
    collector = StatsCollector()
    collector.update(np.array(values, np.float32))
    stats = collector.stats()
    return TensorStats(stats.minimum, stats.maximum, stats.histogram, mean)


def solve(graph: Graph, stats: dict[str, TensorStats]) -> Assignment:
    return assign(constrain(graph, capabilities(), W8A8), stats, "minmax")


def gated() -> Graph:
    """Two layers and a sigmoid joined by a concat."""
    b, x = start()
    one, two = layer(b, x, "fc"), layer(b, x, "second")
    gate = b.one(Sigmoid(), (two,), name="gate", output="gate_out")
    y = b.one(Concat(1), (one, gate), name="cat", output="cat_out")
    return b.build(outputs=[y])


GATED_STATS = {
    "x": seen(-1, 1),
    "fc_out": seen(-2, 6),
    "second_out": seen(-3, 3),
    "gate_out": seen(0, 0.9),
}


def test_the_model_is_valid_and_every_integer_tensor_has_parameters() -> None:
    model = solve(gated(), GATED_STATS).model
    verify(model.graph)
    integers = {n for n, t in model.graph.tensors.items() if not t.dtype.is_float}
    assert integers == set(model.params)
    for name in model.graph.constants:
        assert model.graph.constants[name].dtype == model.graph.tensors[name].dtype.numpy


def test_a_group_covers_the_ranges_of_all_its_members() -> None:
    model = solve(gated(), GATED_STATS).model
    shared = model.params["fc_out"]
    assert model.params["cat_out__quantized"].same_as(shared)
    assert model.params["gate_out__for_cat"].same_as(shared)
    low, high = (shared.scale * (q - shared.zero_point) for q in (-128, 127))
    assert low <= -1.96
    assert high >= 5.96


def test_fixed_parameters_are_kept() -> None:
    params = solve(gated(), GATED_STATS).model.params["gate_out"]
    assert (float(params.scale), int(params.zero_point)) == (1 / 256, -128)


def test_biases_take_the_product_of_scales() -> None:
    model = solve(gated(), GATED_STATS).model
    product = model.params["x__quantized"].scale * model.params["fc_w"].scale
    np.testing.assert_allclose(model.params["fc_b"].scale, product, rtol=1e-6)
    assert model.graph.tensors["fc_b"].dtype is DType.INT32


def test_channel_means_correct_the_bias_and_the_decision_says_so() -> None:
    stats = {**GATED_STATS, "x": seen(-1, 1, mean=np.full(4, 0.5))}
    decisions = solve(gated(), stats).decisions
    assert {d.subject for d in decisions if d.code is Code.BIAS_CORRECTED} == {"fc", "second"}


def test_a_tensor_with_one_value_is_a_convention_and_said_so() -> None:
    stats = {**GATED_STATS, "fc_out": seen(0)}
    decisions = solve(gated(), stats).decisions
    assert [d.subject for d in decisions if d.code is Code.CONSTANT_RANGE] == ["fc_out"]


def test_a_constant_operand_is_quantized_by_its_own_values() -> None:
    b = GraphBuilder("g")
    b, x = start()
    shift = b.constant("shift", np.array([[0, 1, 2, 2.55]], np.float32))
    y = b.one(Add(), (x, shift), name="add", output="y")
    model = solve(b.build(outputs=[y]), {"x": seen(-1, 1), "y": seen(-1, 3)}).model
    np.testing.assert_array_equal(model.graph.constants["shift"], [[-128, -28, 72, 127]])


def test_the_text_of_a_model_is_stable() -> None:
    one, two = (solve(gated(), GATED_STATS).model for _ in range(2))
    assert to_text(one.graph, one.params) == to_text(two.graph, two.params)
