"""Kernel rows that compute in float on weights of few bits, as a stranger may declare them."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.decisions import Code
from qhal.errors import PluginError
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import NORMAL_FLOAT, DType
from qhal.ir.graph import Array, Graph, TensorType
from qhal.ir.ops import Add, FullyConnected, MatMul
from qhal.ir.verify import verify
from qhal.measure.counted import bits
from qhal.quant.arithmetic import broadcast_params, rounded
from qhal.quant.assign import Assignment, assign
from qhal.quant.constraints import constrain
from qhal.quant.oracle import Oracle
from qhal.results.plan import plan_of
from qhal.targets.capability import Capabilities, Capability, KernelRow
from qhal.targets.recipe import Recipe, find_recipe
from qhal.targets.spec import (
    BFLOAT,
    FLOAT,
    HALF,
    Derived,
    Granularity,
    PerAxis,
    PerGroup,
    QuantSpec,
)
from tests.core.quant.targets import INT8, weighted
from tests.core.quant.test_assign import seen
from tests.core.quant.test_constraints import W8A8

NF4 = DType.NF4
X = np.random.default_rng(2).normal(size=(2, 8)).astype(np.float32)


def bfloat(array: Array) -> np.ndarray:
    """Rounded to the nearest bfloat16."""
    return rounded(array, DType.BFLOAT16)


def layer() -> Graph:
    """``y = x @ w.T + b`` with w (3, 8)."""
    rng, b = np.random.default_rng(1), GraphBuilder("g")
    operands = (
        b.input("x", TensorType((2, 8))),
        b.define("w", rng.normal(size=(3, 8)).astype(np.float32)),
        b.define("b", rng.normal(size=3).astype(np.float32)),
    )
    return b.build(outputs=[b.one(FullyConnected(), operands, name="fc", output="y")])


def target(*rows: KernelRow, op: str = "FullyConnected") -> Capabilities:
    return Capabilities((Capability(op, rows, "tests"),))


def solve(graph: Graph, caps: Capabilities, recipe: str, mean: float = 0.0) -> Assignment:
    means = np.full(8, mean, np.float32)
    stats = {"x": seen(-1, 1, mean=means)} if mean else {}
    return assign(constrain(graph, caps, find_recipe(recipe, caps, "mine")), stats, "minmax")


@pytest.mark.parametrize(("granularity", "scales"), [(PerGroup(4), (3, 2)), (PerAxis(), (3,))])
def test_codes_are_dequantized_exactly(granularity: Granularity, scales: tuple[int, ...]) -> None:
    caps = target(KernelRow(FLOAT, FLOAT, QuantSpec(NF4, granularity), FLOAT))
    model = solve(layer(), caps, "nf4").model
    verify(model.graph)
    params, codes = model.params["w"], model.graph.constants["w"]
    assert (model.graph.tensors["w"].dtype, codes.dtype, params.scale.shape) == (
        NF4,
        np.dtype("u1"),
        scales,
    )
    scale, _ = broadcast_params(params, codes.shape)
    expected = X @ (NORMAL_FLOAT[codes] * scale).T + model.graph.constants["b"]
    np.testing.assert_allclose(Oracle(model).run({"x": X})["y"], expected, rtol=1e-5)


def test_the_plan_and_the_counts_know_codes() -> None:
    caps = target(KernelRow(FLOAT, FLOAT, QuantSpec(NF4, PerGroup(4)), FLOAT))
    model = solve(layer(), caps, "nf4").model
    tensor = next(t for t in plan_of(model).tensors if t.name == "w")
    assert (tensor.dtype, tensor.group_size, tensor.zero_point) == ("nf4", 4, (0,))
    assert tensor.range == (-max(tensor.scale), max(tensor.scale))
    assert bits(model)["stored_bits_per_weight"].value == 4
    assert bits(model)["compute_bits"].value == 32


@pytest.mark.parametrize(
    ("activation", "output", "weight", "bias"),
    [
        (INT8, INT8, QuantSpec(NF4, PerGroup(4)), Derived()),
        (QuantSpec(NF4), FLOAT, FLOAT, FLOAT),
        (FLOAT, QuantSpec(NF4), FLOAT, FLOAT),
        (FLOAT, FLOAT, FLOAT, QuantSpec(NF4)),
    ],
)
def test_codes_are_refused_where_a_kernel_counts(
    activation: QuantSpec, output: QuantSpec, weight: QuantSpec, bias: QuantSpec | Derived
) -> None:
    with pytest.raises(PluginError, match="computes with nf4"):
        KernelRow(activation, output, weight, bias)


BFLOAT_ROW = KernelRow(BFLOAT, FLOAT, BFLOAT, BFLOAT, name="bfloat16")


def test_a_kernel_in_bfloat16_reads_float_tensors_and_rounds_them() -> None:
    model = solve(layer(), target(BFLOAT_ROW), "bf16").model
    verify(model.graph)
    assert [node.name for node in model.graph.nodes] == ["fc"]
    types = {name: kind.dtype.value for name, kind in model.graph.tensors.items()}
    assert types == {"x": "float32", "w": "bfloat16", "b": "bfloat16", "y": "float32"}
    weight, bias = (bfloat(layer().constants[name]) for name in ("w", "b"))
    assert np.array_equal(model.graph.constants["w"], weight)
    expected = bfloat(X) @ weight.T + bias
    np.testing.assert_allclose(Oracle(model).run({"x": X})["y"], expected, rtol=1e-6)
    assert plan_of(model).nodes[0].declared.dtype == "bfloat16"
    assert bits(model)["compute_bits"].value == 16


def test_the_mean_error_of_bfloat16_weights_is_taken_from_the_bias() -> None:
    solved = solve(layer(), target(KernelRow(BFLOAT, FLOAT, BFLOAT, FLOAT)), "bf16", mean=100.0)
    assert [d.code for d in solved.decisions] == [Code.BIAS_CORRECTED]
    x = np.full((2, 8), 100, np.float32)
    weight, bias = (layer().constants[name].astype(np.float32) for name in ("w", "b"))
    exact = x @ weight.T + bias
    np.testing.assert_allclose(Oracle(solved.model).run({"x": x})["y"], exact, rtol=1e-5)
    plain = solve(layer(), target(KernelRow(BFLOAT, FLOAT, BFLOAT, FLOAT)), "bf16").model
    assert not np.allclose(Oracle(plain).run({"x": x})["y"], exact, rtol=1e-5)


def test_a_corrected_bias_is_stored_in_the_type_of_the_row() -> None:
    weight = QuantSpec(DType.INT8, PerAxis(), symmetric=True)
    model = solve(layer(), target(KernelRow(FLOAT, FLOAT, weight, HALF)), "w8", mean=1.0).model
    assert model.graph.constants["b"].dtype == model.graph.tensors["b"].dtype.numpy == np.float16


def test_a_constant_operand_of_a_kernel_in_bfloat16_stays_as_it_is() -> None:
    b = GraphBuilder("g")
    value = np.random.default_rng(1).normal(size=(3, 8, 5)).astype(np.float32)
    operands = (b.input("x", TensorType((3, 2, 8))), b.constant("c", value))
    graph = b.build(outputs=[b.one(MatMul(), operands, name="product", output="y")])
    caps = Capabilities(
        (
            Capability("MatMul", (KernelRow(BFLOAT, FLOAT),), "tests"),
            Capability("FullyConnected", (BFLOAT_ROW,), "tests"),
        )
    )
    model = solve(graph, caps, "bf16").model
    x = np.stack([X, X, X])
    assert np.array_equal(model.graph.constants["c"], value)
    expected = bfloat(x) @ bfloat(value)
    np.testing.assert_allclose(Oracle(model).run({"x": x})["y"], expected, rtol=1e-5)


def test_integers_reach_kernels_in_float_and_in_bfloat16_by_one_step() -> None:
    b = GraphBuilder("g")
    x = b.input("x", TensorType((2, 8)))
    weight = np.random.default_rng(1).normal(size=(8, 8)).astype(np.float32)
    first = b.one(FullyConnected(), (x, b.constant("w", weight)), name="first")
    last = b.one(MatMul(), (first, b.constant("m", weight)), name="last")
    total = b.one(Add(), (first, last), name="sum")
    rows = {"FullyConnected": weighted(), "MatMul": KernelRow(BFLOAT, FLOAT)}
    kernels = [Capability(op, (row,), "tests") for op, row in rows.items()]
    caps = Capabilities((*kernels, Capability("Add", (KernelRow(FLOAT, FLOAT),), "tests")))
    both = Recipe("both", "", W8A8.activation | {DType.BFLOAT16, DType.FLOAT32}, W8A8.weight)
    graph = constrain(b.build(outputs=[total]), caps, both).qdq.graph
    assert [node.op.kind for node in graph.nodes] == [
        *("Quantize", "FullyConnected", "Dequantize", "MatMul", "Add"),
    ]
