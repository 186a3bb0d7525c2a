"""What a recipe would quantize and that runs in float: means, wide softmaxes, steep operands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qhal.decisions import Code
from qhal.ir.dtypes import DType
from qhal.ir.graph import Graph
from qhal.ir.ops import (
    AveragePool,
    Clip,
    Concat,
    Div,
    Op,
    Pow,
    Reduce,
    Reshape,
    Sigmoid,
    Softmax,
    Unary,
)
from qhal.pipeline.gates import fallback_gate
from qhal.quant.choice import Verdict
from qhal.quant.constraints import constrain
from qhal.quant.select import select
from qhal.targets.capability import Capabilities, Capability, KernelRow
from qhal.targets.recipe import RECIPES
from qhal.targets.spec import (
    FLOAT,
    FixedQParams,
    SameAsInput,
)
from tests.core.quant.targets import INT8, INT16, capabilities, weighted
from tests.core.quant.test_constraints import FLOAT_ROW, W8A8, chain, kinds, layer, start

# --- means that are float outputs -----------------------------------------------


def averaging(*rows: KernelRow, integer_io: bool = False) -> Capabilities:
    mean = Capability("ReduceMean", rows or (KernelRow(INT8, INT8), FLOAT_ROW), "tests")
    return capabilities(integer_io=integer_io, extra=(mean,))


def averaged(*after: Op, axis: int = 1) -> Graph:
    return chain(Reduce("Mean", (axis,)), *after)


def test_a_mean_that_is_a_float_output_runs_in_float_with_the_movement_behind_it() -> None:
    solved = constrain(averaged(Reshape((1,))), averaging(), W8A8)
    assert kinds(solved.qdq.graph)[-3:] == ["Dequantize", "ReduceMean", "Reshape"]
    for name in ("n0", "n1"):
        choice = solved.choices[name]
        assert (choice.verdict, choice.promoted) == (Verdict.NATIVE, Code.OUTPUT_PROMOTED)
        assert any((d.code, d.subject) == (Code.OUTPUT_PROMOTED, name) for d in solved.decisions)
    (gate,) = fallback_gate(solved.choices, 0)
    assert gate.passed


@pytest.mark.parametrize(("classes", "promoted"), [(255, False), (256, True)])
def test_a_softmax_over_more_classes_than_steps_runs_in_float(classes: int, promoted: bool) -> None:
    b, x = start(classes)
    y = b.one(Softmax(1), (x,), name="softmax", output="y")
    rows = (KernelRow(INT8, FixedQParams(DType.INT8, 1 / 256, -128)), FLOAT_ROW)
    caps = capabilities(extra=(Capability("Softmax", rows, "tests"),))
    choice = select(b.build(outputs=[y]), caps, W8A8)["softmax"]
    assert (choice.promoted is Code.OUTPUT_PROMOTED) == promoted


def test_a_wide_softmax_of_16_bits_is_promoted_too() -> None:
    b, x = start(256)
    y = b.one(Softmax(1), (x,), name="softmax", output="y")
    rows = (KernelRow(INT16, FixedQParams(DType.INT16, 1 / 32768, 0)), FLOAT_ROW)
    caps = capabilities(extra=(Capability("Softmax", rows, "tests"),))
    w8a16 = next(r for r in RECIPES if r.name == "w8a16")
    assert select(b.build(outputs=[y]), caps, w8a16)["softmax"].promoted is Code.OUTPUT_PROMOTED


def test_a_pooled_mean_is_one_even_where_its_kernel_shares_a_scale() -> None:
    """LiteRT's AVERAGE_POOL_2D, which is data movement as far as parameters go."""
    pool = AveragePool((2, 2), (1, 1), (0, 0, 0, 0))
    extra = Capability("AveragePool", (KernelRow(INT8, SameAsInput()), FLOAT_ROW), "tests")
    graph = chain(Reshape((1, 1, 2, 2)), pool)
    choices = select(graph, capabilities(extra=(extra,)), W8A8)
    found = [choices[name].promoted for name in ("fc", "n0", "n1")]
    assert found == [None, None, Code.OUTPUT_PROMOTED]


def test_a_mean_that_an_integer_node_reads_stays_in_integers() -> None:
    solved = constrain(averaged(Sigmoid()), averaging(), W8A8)
    assert kinds(solved.qdq.graph)[-3:] == ["ReduceMean", "Sigmoid", "Dequantize"]


def test_a_mean_that_is_joined_with_integers_stays_in_integers() -> None:
    b, x = start()
    x = layer(b, x, "fc")
    mean = b.one(Reduce("Mean", (1,)), (x,), name="mean", output="mean_out")
    y = b.one(Concat(1), (mean, x), name="cat", output="cat_out")
    solved = constrain(b.build(outputs=[y]), averaging(), W8A8)
    assert not any(choice.promoted for choice in solved.choices.values())


def test_a_mean_that_is_an_output_and_read_on_stays_in_integers() -> None:
    b, x = start()
    mean = b.one(Reduce("Mean", (1,)), (layer(b, x, "fc"),), name="mean", output="mean_out")
    y = b.one(Sigmoid(), (mean,), name="s", output="s_out")
    choices = select(b.build(outputs=[mean, y]), averaging(), W8A8)
    assert not choices["mean"].promoted


@pytest.mark.parametrize(
    "caps",
    [
        averaging(integer_io=True),
        averaging(KernelRow(INT8, INT8)),
        averaging(KernelRow(INT8, INT8), KernelRow(FLOAT, FLOAT, unit="host")),
    ],
    ids=["integer outputs", "no float kernel", "float on another unit"],
)
def test_a_mean_stays_in_integers_where_float_is_not_at_hand(caps: Capabilities) -> None:
    assert not select(averaged(), caps, W8A8)["n0"].promoted


def test_the_mean_of_one_value_stays_in_integers() -> None:
    assert not select(averaged(axis=0), averaging(), W8A8)["n0"].promoted


def test_sixteen_bits_hold_a_mean() -> None:
    (recipe,) = (r for r in RECIPES if r.name == "w8a16")
    wide = Capability("FullyConnected", (weighted(activation=INT16),), "tests")
    mean = Capability("ReduceMean", (KernelRow(INT16, INT16), FLOAT_ROW), "tests")
    choices = select(averaged(), Capabilities((wide, mean)), recipe)
    assert choices["n0"].quantized


def steep() -> Capabilities:
    float_only = [Capability(op, (FLOAT_ROW,), "tests") for op in ("Log", "Div", "Pow")]
    clip = Capability("Clip", (KernelRow(INT8, SameAsInput()), FLOAT_ROW), "tests")
    return capabilities(extra=(clip, *float_only))


def test_what_leads_to_a_logarithm_is_in_float_back_to_the_product() -> None:
    graph = chain(Reshape((4,)), Clip(1e-10, np.inf), Unary("Log"), Sigmoid())
    solved = constrain(graph, steep(), W8A8)
    assert kinds(solved.qdq.graph)[2:6] == ["Dequantize", "Reshape", "Clip", "Log"]
    assert [solved.choices[n].promoted for n in ("fc", "n0", "n1", "n2", "n3")] == [
        *(None, Code.STEEP_OPERAND, Code.STEEP_OPERAND, None, None)
    ]
    (gate,) = fallback_gate(solved.choices, 1)
    assert gate.sentence.startswith("1 node in float or on another unit")


@pytest.mark.parametrize(("op", "promoted"), [(Div(), "below"), (Pow(), "above")])
def test_a_quotient_is_steep_in_its_divisor_and_a_power_in_its_base(op: Op, promoted: str) -> None:
    b, x = start()
    clipped = [b.one(Clip(0.1, 1.0), (layer(b, x, f"fc_{n}"),), name=n) for n in ("above", "below")]
    choices = select(b.build(outputs=[b.one(op, clipped)]), steep(), W8A8)
    assert [n for n in ("above", "below") if choices[n].promoted] == [promoted]


def steep_with_stored_weights() -> Capabilities:
    stored = KernelRow(FLOAT, FLOAT, weight=weighted().weight, bias=FLOAT, name="stored")
    mean = Capability("ReduceMean", (KernelRow(INT8, INT8), FLOAT_ROW), "tests")
    wider = (Capability("FullyConnected", (stored,), "tests"), mean)
    return replace(steep(), kernels=(*steep().kernels, *wider))


def test_a_product_in_front_of_a_logarithm_keeps_only_its_weight_in_integers() -> None:
    graph = chain(Reshape((4,)), Clip(1e-10, np.inf), Unary("Log"))
    choice = select(graph, steep_with_stored_weights(), W8A8)["fc"]
    assert choice.row is not None
    assert (choice.row.name, choice.promoted) == ("stored", Code.STEEP_OPERAND)
    assert choice.verdict is Verdict.NATIVE


def test_a_product_that_is_summed_up_for_a_norm_stays_in_integers() -> None:
    graph = chain(Clip(1e-10, np.inf), Reduce("Mean", (1,)), Unary("Log"))
    choices = select(graph, steep_with_stored_weights(), W8A8)
    assert choices["n1"].promoted is choices["n0"].promoted is Code.STEEP_OPERAND
    assert choices["fc"].quantized


def test_what_an_integer_node_reads_too_stays_in_integers() -> None:
    b, x = start()
    clipped = b.one(Clip(0.1, 1.0), (layer(b, x, "fc"),), name="clip")
    outputs = [b.one(Unary("Log"), (clipped,)), b.one(Sigmoid(), (clipped,))]
    assert select(b.build(outputs=outputs), steep(), W8A8)["clip"].quantized
