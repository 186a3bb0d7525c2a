"""The artifact: its operators, its bytes, its names."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Graph, TensorType
from qhal.ir.ops import Activation
from qhal.quant.model import QuantModel
from qhal_backends.openvino.lower import compose, to_ir
from tests.backends.openvino.openvino_models import Constant, quantize, single
from tests.conftest import Golden


def block() -> Graph:
    """Convolution, depthwise convolution, residual sum, mean, fully-connected layer."""
    builder, random = GraphBuilder("block"), np.random.default_rng(3)

    def weight(name: str, *shape: int) -> str:
        return builder.define(name, random.normal(0, 0.3, shape).astype(np.float32))

    builder.input("image", TensorType((1, 4, 6, 6)))
    same = ((1, 1), (1, 1, 1, 1), (1, 1))
    conv = ops.Conv(*same, activation=Activation.RELU)
    operands = ("image", weight("w1", 4, 4, 3, 3), weight("b1", 4))
    first = builder.one(conv, operands, name="conv", output="features")
    depthwise = ops.DepthwiseConv(*same)
    second = builder.one(depthwise, (first, weight("w2", 4, 1, 3, 3)), name="depthwise")
    total = builder.one(ops.Add(), (first, second), name="sum")
    mean = builder.one(ops.Reduce("Mean", (2, 3), keepdims=False), (total,), name="mean")
    operands = (mean, weight("w3", 3, 4), weight("b3", 3))
    return builder.build(
        outputs=(builder.one(ops.FullyConnected(), operands, name="head", output="scores"),)
    )


def describe(model: onnx.ModelProto) -> str:
    """One line per constant and node."""
    graph = model.graph
    lines = [f"opset {model.opset_import[0].version}"]
    for tensor in graph.initializer:
        value = numpy_helper.to_array(tensor)
        lines.append(f"{tensor.name}: {value.dtype}{list(value.shape)}")
    for node in graph.node:
        lines.append(
            f"{', '.join(node.output)} = {node.op_type}({', '.join(node.input)})  # {node.name}"
        )
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("recipe", ["w8a8", "w8", "fp16", "bf16"])
def test_operators_are_golden(recipe: str, golden: Golden) -> None:
    golden(f"openvino/{recipe}.txt", describe(compose(quantize(block(), recipe).model).onnx))


def test_bounds_hold_zero_and_all_256_steps() -> None:
    made = quantize(block())
    model = compose(made.model).onnx
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "FakeQuantize":
            low, high = (constants[name] for name in node.input[1:3])
            params = made.model.params[node.output[0]]
            step = (high - low) / 255
            np.testing.assert_allclose(step.ravel(), params.scale.ravel(), rtol=1e-5)
            assert np.allclose(low / step, np.rint(low / step), atol=1e-3)


class TestIr:
    """What needs OpenVINO."""

    @pytest.fixture(autouse=True)
    def _openvino(self) -> None:
        pytest.importorskip("openvino", reason="pip install 'quant-hal[openvino]'")

    def test_same_model_same_bytes(self) -> None:
        model = quantize(block()).model
        assert to_ir(model) == to_ir(model)

    def test_names_are_kept_and_nothing_is_numbered_by_the_process(self) -> None:
        import openvino

        xml, weights = to_ir(quantize(block()).model)
        model = openvino.Core().read_model(xml, weights)
        assert [port.any_name for port in model.inputs] == ["image"]
        assert [port.any_name for port in model.outputs] == ["scores"]
        names = {node.get_friendly_name() for node in model.get_ordered_ops()}
        assert {"conv", "depthwise", "sum", "head"} <= names

    def test_a_product_keeps_its_name_from_a_weight_that_is_called_like_it(self) -> None:
        import openvino

        builder = GraphBuilder("g")
        builder.input("x", TensorType((2, 16)))
        weight = np.random.default_rng(0).normal(0, 0.2, (8, 16)).astype(np.float32)
        operands = ("x", builder.define("wq", weight))
        made = builder.one(ops.FullyConnected(), operands, name="wq", output="y")
        model = openvino.Core().read_model(*to_ir(quantize(builder.build(outputs=(made,))).model))
        kinds = {node.get_friendly_name(): node.get_type_name() for node in model.get_ops()}
        assert (kinds["wq"], kinds["wq__constant"]) == ("MatMul", "Constant")

    @pytest.mark.parametrize("op", [ops.Lstm(6), ops.Gru(6)])
    def test_a_recurrent_layer_keeps_its_name(self, op: ops.Lstm | ops.Gru) -> None:
        import openvino

        gates = 4 if isinstance(op, ops.Lstm) else 3
        shapes = (Constant((1, gates * 6, 8)), Constant((1, gates * 6, 6)))
        graph = single(op, [(5, 1, 8), *shapes])
        model = openvino.Core().read_model(*to_ir(QuantModel(graph)))
        kinds = {node.get_friendly_name(): node.get_type_name() for node in model.get_ops()}
        assert kinds["node"] == f"{op.kind.upper()}Sequence"

    def test_weights_are_stored_in_eight_bits(self) -> None:
        made = quantize(block())
        _, weights = to_ir(made.model)
        _, plain = to_ir(QuantModel(made.graph))
        assert len(weights) < 0.6 * len(plain)
