"""The QDQ model: names, parameters, activations, stored weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Graph, TensorType
from qhal.ir.ops import Activation
from qhal.plugin.backend import RunOptions
from qhal.quant.model import QuantModel, QuantParams
from qhal.quant.oracle import Oracle
from qhal.targets.capability import Arithmetic
from qhal.targets.profile import TargetProfile
from qhal_backends.cpu.plugin import CpuBackend
from tests.backends.cpu.cpu_models import UINT8, Bias, Operand, Weight, feeds, quantized

TARGET = TargetProfile("cpu", backend="cpu", title="")
ONE = ((1, 1), (1, 1, 1, 1), (1, 1))
CONV: list[Operand] = [(1, 8, 12, 12), Weight((16, 8, 3, 3)), Bias(16)]
FROM_ZERO = QuantParams.per_tensor(DType.UINT8, 6 / 255, 0)


def lowered(model: QuantModel) -> onnx.ModelProto:
    artifact = CpuBackend().lower(model, TARGET)
    assert artifact == CpuBackend().lower(model, TARGET)
    proto = onnx.load_model_from_string(artifact.files["model.onnx"])
    onnx.checker.check_model(proto, full_check=True)
    return proto


def run(model: QuantModel) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What ONNX Runtime computes, and what the oracle does."""
    backend, inputs = CpuBackend(), feeds(model)
    runner = backend.load(backend.lower(model, TARGET), TARGET, RunOptions())
    return runner.run(inputs), Oracle(model).run(inputs)


def kinds(proto: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


def constant(proto: onnx.ModelProto, name: str) -> np.ndarray:
    (value,) = (t for t in proto.graph.initializer if t.name == name)
    return numpy_helper.to_array(value)


def test_tensors_and_nodes_keep_their_names() -> None:
    proto = lowered(quantized(ops.Conv(*ONE), CONV))
    assert [value.name for value in proto.graph.input] == ["x0"]
    assert [value.name for value in proto.graph.output] == ["y0"]
    made = {output for node in proto.graph.node for output in node.output}
    assert {"x0q", "y0q", "y0"} <= made
    assert "node" in {node.name for node in proto.graph.node}
    assert proto.opset_import[0].version == 13


def test_bias_is_int32_with_the_product_of_the_scales() -> None:
    proto = lowered(quantized(ops.Conv(*ONE), CONV))
    by_input = {node.input[0]: node for node in proto.graph.node}
    bias, weight = by_input["b"], by_input["w"]
    assert constant(proto, "b").dtype == np.int32
    assert len(bias.input) == 2, "int32 has no zero point in ONNX"
    expected = UINT8.scale * constant(proto, weight.input[1])
    np.testing.assert_array_equal(constant(proto, bias.input[1]), expected)
    assert {a.name: a.i for a in weight.attribute} == {"axis": 0}


@pytest.mark.parametrize("activation", [Activation.RELU, Activation.RELU6])
def test_an_activation_that_the_range_implies_needs_no_node(activation: Activation) -> None:
    model = quantized(ops.Conv(*ONE, activation=activation), CONV, FROM_ZERO)
    assert not {"Relu", "Clip"} & set(kinds(lowered(model)))
    got, expected = run(model)
    np.testing.assert_array_equal(got["y0"], expected["y0"])


def test_any_other_activation_is_a_clip_behind_the_quantized_operator() -> None:
    model = quantized(ops.Conv(*ONE, activation=Activation.RELU), CONV)
    assert kinds(lowered(model))[-4:] == ["Conv", "QuantizeLinear", "Clip", "DequantizeLinear"]
    got, expected = run(model)
    assert got["y0"].min() >= 0
    np.testing.assert_array_equal(got["y0"], expected["y0"])


def floating(op: ops.Op, weight: np.ndarray, params: QuantParams | None, *bias: int) -> QuantModel:
    """A float node with a stored weight."""
    builder = GraphBuilder("g")
    shape = (2, weight.shape[1]) if weight.ndim == 2 else (1, weight.shape[1], 6, 6)
    names = [builder.input("x", TensorType(shape)), builder.constant("w", weight)]
    names += [builder.constant("b", np.arange(size, dtype=np.float32)) for size in bias]
    graph = builder.build(outputs=builder.add(op, names, name="node", outputs=["y"]))
    if params is None:
        return QuantModel(graph, arithmetic=Arithmetic.FLOAT)
    types = {**graph.tensors, "w": TensorType(weight.shape, params.dtype)}
    graph = replace(graph, tensors=types)
    return QuantModel(graph, {"w": params}, arithmetic=Arithmetic.FLOAT)


def integers(shape: tuple[int, ...], high: int) -> np.ndarray:
    return np.random.default_rng(1).integers(-high, high + 1, shape).astype(np.int8)


def test_a_stored_int8_weight_is_folded_at_load() -> None:
    scale = np.linspace(0.01, 0.02, 4, dtype=np.float32)
    params = QuantParams(DType.INT8, scale, np.zeros(4, np.int64), 0)
    model = floating(ops.Conv(*ONE), integers((4, 3, 3, 3), 127), params)
    assert kinds(lowered(model)) == ["Cast", "Mul", "Conv"]
    placed = CpuBackend().placement(CpuBackend().lower(model, TARGET), TARGET)
    assert not {"Cast", "Mul"} & {node.where.kernel for node in placed.nodes}
    got, expected = run(model)
    np.testing.assert_allclose(got["y"], expected["y"], rtol=1e-4, atol=1e-4)


def test_a_stored_float16_weight_is_folded_at_load() -> None:
    weight = np.random.default_rng(1).normal(size=(5, 8)).astype(np.float16)
    model = floating(ops.FullyConnected(), weight, None, 5)
    assert kinds(lowered(model)) == ["Cast", "Gemm"]
    got, expected = run(model)
    np.testing.assert_allclose(got["y"], expected["y"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("dtype", "high"), [(DType.INT8, 127), (DType.INT4, 7)])
@pytest.mark.parametrize("depth", [64, 70])
@pytest.mark.parametrize("activation", [Activation.NONE, Activation.RELU])
@pytest.mark.parametrize("bias", [(), (5,)])
def test_weights_in_groups_become_matmul_nbits(
    dtype: DType, high: int, depth: int, activation: Activation, bias: tuple[int, ...]
) -> None:
    scale = np.random.default_rng(2).uniform(0.01, 0.02, (5, -(-depth // 32)))
    zero = np.zeros(scale.shape, np.int64)
    params = QuantParams(dtype, scale.astype(np.float32), zero, 0, 32)
    model = floating(ops.FullyConnected(activation), integers((5, depth), high), params, *bias)
    backend = CpuBackend()
    placed = {n.name: n for n in backend.placement(backend.lower(model, TARGET), TARGET).nodes}
    assert (placed["node"].where.kernel, placed["node"].where.dtype) == ("MatMulNBits", "int8")
    got, expected = run(model)
    span = np.abs(expected["y"]).max()
    np.testing.assert_allclose(got["y"], expected["y"], atol=0.02 * span)


@pytest.mark.parametrize(
    ("op", "kernel"),
    [(ops.Silu(), "QuickGelu"), (ops.Gelu(), "Gelu"), (ops.Gelu(approximate=True), "FastGelu")],
)
def test_smooth_units_in_float_are_one_operator(op: ops.Op, kernel: str) -> None:
    graph = float_graph(op, (2, 8))
    proto = lowered(QuantModel(graph))
    assert kinds(proto) == [kernel]
    assert proto.opset_import[0].version == 13
    got, expected = run(QuantModel(graph, arithmetic=Arithmetic.FLOAT))
    np.testing.assert_allclose(got["y"], expected["y"], rtol=1e-5, atol=1e-6)


def float_graph(op: ops.Op, shape: tuple[int, ...]) -> Graph:
    builder = GraphBuilder("g")
    builder.input("x", TensorType(shape))
    return builder.build(outputs=[builder.one(op, ["x"], output="y")])


def test_a_float_model_is_lowered_as_it_is() -> None:
    assert kinds(lowered(QuantModel(float_graph(ops.Softmax(1), (2, 8))))) == ["Softmax"]


def test_requantize_goes_through_float() -> None:
    builder = GraphBuilder("g")
    builder.input("x", TensorType((4,)))
    first = builder.declare("a", TensorType((4,), DType.UINT8))
    builder.add(ops.Quantize(), ["x"], outputs=[first])
    builder.declare("b", TensorType((4,), DType.UINT8))
    builder.add(ops.Requantize(), ["a"], outputs=["b"])
    builder.declare("y", TensorType((4,)))
    builder.add(ops.Dequantize(), ["b"], outputs=["y"])
    params = {"a": UINT8, "b": FROM_ZERO}
    model = QuantModel(builder.build(outputs=["y"]), params, arithmetic=Arithmetic.FLOAT)
    names = [node.op_type.removesuffix("Linear") for node in lowered(model).graph.node]
    assert names == ["Quantize", "Dequantize", "Quantize", "Dequantize"]
    got, expected = run(model)
    # ONNX Runtime merges such a chain into one QuantizeLinear, which rounds only once.
    np.testing.assert_allclose(got["y"], expected["y"], atol=float(FROM_ZERO.scale))


def test_the_runner_takes_threads_and_names_its_runtime() -> None:
    model = QuantModel(float_graph(ops.Relu(), (2, 8)))
    backend = CpuBackend()
    runner = backend.load(backend.lower(model, TARGET), TARGET, RunOptions(threads=2))
    assert runner.runtime == f"onnxruntime {onnxruntime.__version__}"
    (result,) = runner.run({"x": -np.ones((2, 8), np.float32)}).values()
    np.testing.assert_array_equal(result, np.zeros((2, 8)))
