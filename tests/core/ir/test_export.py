"""Every canonical operator becomes valid ONNX that onnxruntime runs."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from qhal.errors import InternalError
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.export import OnnxWriter, to_onnx
from qhal.ir.graph import Graph, Node, TensorType
from qhal.ir.ops import Activation, Layout

ONE = (1, 1)
NO_PADS = (0, 0, 0, 0)


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


Operand = np.ndarray | tuple[int, ...]
Case = tuple[ops.Op, *tuple[Operand, ...]]


def graph_of(op: ops.Op, *operands: Operand) -> Graph:
    """One node; arrays become constants, shapes become inputs."""
    builder = GraphBuilder("g")
    names = [
        builder.input(f"x{i}", TensorType(operand))
        if isinstance(operand, tuple)
        else builder.constant(f"c{i}", operand)
        for i, operand in enumerate(operands)
    ]
    return builder.build(outputs=builder.add(op, names, name="node"))


def run(
    graph: Graph, feeds: dict[str, np.ndarray] | None = None, **options: Any
) -> list[np.ndarray]:
    model = to_onnx(graph, **options)
    onnx.checker.check_model(model, full_check=True)
    assert model.SerializeToString() == to_onnx(graph, **options).SerializeToString()
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = feeds or {
        name: values(*graph.tensors[name].shape, seed=i) for i, name in enumerate(graph.inputs)
    }
    results: list[np.ndarray] = session.run(None, feeds)
    for name, result in zip(graph.outputs, results, strict=True):
        assert result.shape == graph.tensors[name].shape
        assert result.dtype == graph.tensors[name].dtype.numpy
    return results


X4 = (1, 4, 6, 6)
RECURRENT = (values(1, 12, 3), values(1, 12, 3), values(1, 24))
UNARY = ["Abs", "Neg", "Exp", "Log", "Sqrt", "Rsqrt", "Reciprocal", "Erf", "Sin", "Cos"]
UNARY += ["Floor", "Ceil", "Round", "Sign", "Softplus"]
CASES: list[Case] = [
    (ops.Conv(ONE, (1, 1, 1, 1), ONE), X4, values(5, 4, 3, 3), values(5)),
    (ops.Conv(ONE, NO_PADS, ONE, groups=2), X4, values(6, 2, 3, 3)),
    (ops.DepthwiseConv((2, 2), NO_PADS, ONE, multiplier=2), X4, values(8, 1, 3, 3), values(8)),
    (ops.ConvTranspose((2, 2), NO_PADS, ONE, (1, 1)), X4, values(4, 3, 2, 2), values(3)),
    (ops.FullyConnected(), (2, 4), values(3, 4), values(3)),
    (ops.FullyConnected(Activation.RELU), (2, 5, 4), values(3, 4), values(3)),
    (ops.FullyConnected(), (2, 5, 4), values(3, 4)),
    (ops.MatMul(), (2, 3, 4), (2, 4, 5)),
    (ops.Lstm(3), (5, 2, 3), *RECURRENT, values(1, 2, 3), values(1, 2, 3)),
    (ops.Rnn(3), (5, 2, 3), values(1, 3, 3), values(1, 3, 3)),
    (ops.Gru(3, linear_before_reset=True), (5, 2, 3), values(1, 9, 3), values(1, 9, 3)),
    (ops.Add(), X4, (1, 4, 1, 1)),
    (ops.Sub(Activation.RELU6), X4, X4),
    (ops.Mul(), X4, values(4, 1, 1)),
    (ops.Div(), X4, X4),
    (ops.Pow(), X4, np.array(2.0, np.float32)),
    *((ops.Mod(truncates), X4, np.array(0.7, np.float32)) for truncates in (False, True)),
    *((ops.Mod(truncates), np.arange(-5, 5), np.array(-3)) for truncates in (False, True)),
    (ops.Maximum(), X4, X4),
    (ops.Minimum(), X4, X4),
    *((ops.Compare(relation), X4, X4) for relation in ("==", "<", "<=", ">", ">=")),
    (ops.Where(), np.array([True, False]), (3, 2), (3, 2)),
    (ops.Relu(), X4),
    (ops.Relu6(), X4),
    (ops.Clip(-1.0, inf), X4),
    (ops.Clip(-inf, 1.0), X4),
    (ops.LeakyRelu(0.1), X4),
    (ops.PRelu(), X4, values(4, 1, 1)),
    (ops.Elu(), X4),
    (ops.Sigmoid(), X4),
    (ops.Tanh(), X4),
    (ops.HardSwish(), X4),
    (ops.HardSigmoid(), X4),
    (ops.Silu(), X4),
    (ops.Gelu(), X4),
    (ops.Gelu(approximate=True), X4),
    *((ops.Unary(function), X4) for function in UNARY),
    (ops.Unary("Not"), np.array([True, False])),
    (ops.Softmax(1), X4),
    (ops.LogSoftmax(3), X4),
    (ops.LayerNorm(3), X4, values(6), values(6)),
    (ops.InstanceNorm(), X4, values(4), values(4)),
    *((ops.Reduce(f, (1, 3), keepdims=False), X4) for f in ("Mean", "Sum", "Max", "Min", "Prod")),
    (ops.Reduce("Mean", (2, 3)), X4),
    (ops.Reduce("Mean", ()), ()),
    *((ops.Logical(f), np.tri(3) > 0, np.eye(3) > 0) for f in ("And", "Or", "Xor")),
    (ops.ArgMax(1), X4),
    (ops.TopK(1, 2), X4),
    (ops.MaxPool((3, 3), (2, 2), (0, 0, 1, 1)), X4),
    (ops.AveragePool((3, 3), (2, 2), (1, 1, 0, 0), count_include_pad=True), X4),
    (ops.Resize("nearest", (12, 9), "asymmetric", "floor"), X4),
    (ops.Resize("linear", (12, 9)), X4),
    (ops.DepthToSpace(2, "CRD"), X4),
    (ops.SpaceToDepth(2), X4),
    (ops.Reshape((4, 36)), X4),
    (ops.Reshape(()), (1, 1)),
    (ops.Transpose((0, 2, 3, 1)), X4),
    (ops.Concat(1), X4, X4, (1, 2, 6, 6)),
    (ops.Split(1, (1, 3)), X4),
    (ops.Slice((0, 1, 5, 0), (1, 2, 6, 6), (1, 2, -1, 1)), X4),
    (ops.Slice((0, 0, 0, 0), X4, (1, 1, 1, 1)), X4),
    (ops.Pad((0, 0, 1, 1, 0, 0, 2, 2), value=3.0), X4),
    (ops.Pad((0, 0, 1, 1, 0, 0, 2, 2), mode="reflect"), X4),
    (ops.Gather(1), X4, np.array([3, 0])),
    (ops.Expand((3, 4)), (1, 4)),
    (ops.Tile((2, 1)), (1, 4)),
    (ops.Cast(DType.INT32), X4),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].kind)
@pytest.mark.parametrize("opset", [None, 21])
def test_every_operator_runs(case: Case, opset: int | None) -> None:
    run(graph_of(*case), opset=opset)


def test_the_lowest_opset_is_13_unless_an_operator_needs_more() -> None:
    assert to_onnx(graph_of(ops.Relu(), X4)).opset_import[0].version == 13
    assert to_onnx(graph_of(ops.HardSwish(), X4)).opset_import[0].version == 13
    assert to_onnx(graph_of(ops.LayerNorm(3), X4, values(6))).opset_import[0].version == 17
    with pytest.raises(InternalError, match="needs at least 17"):
        to_onnx(graph_of(ops.LayerNorm(3), X4, values(6)), opset=16)


def test_spatial_mean_is_global_average_pool() -> None:
    model = to_onnx(graph_of(ops.Reduce("Mean", (2, 3)), X4))
    assert [node.op_type for node in model.graph.node] == ["GlobalAveragePool"]


def test_a_fused_activation_is_a_node_of_its_own() -> None:
    case = (ops.Conv(ONE, NO_PADS, ONE, activation=Activation.RELU6), X4, values(5, 4, 3, 3))
    graph = graph_of(*case)
    conv, clip = to_onnx(graph).graph.node
    assert (conv.op_type, clip.op_type) == ("Conv", "Clip")
    assert conv.output[0] == clip.input[0] == f"{graph.outputs[0]}__pre"
    (result,) = run(graph)
    assert result.min() >= 0 and result.max() <= 6


def test_hard_swish_is_what_onnx_says() -> None:
    (result,) = run(graph_of(ops.HardSwish(), X4))
    x = values(*X4)
    np.testing.assert_allclose(result, x * np.clip(x / 6 + 0.5, 0, 1), atol=1e-6)


@pytest.mark.parametrize("approximate", [False, True])
def test_gelu_without_an_operator_of_its_own_is_the_same(approximate: bool) -> None:
    graph = graph_of(ops.Gelu(approximate), X4)
    assert "Gelu" not in {node.op_type for node in to_onnx(graph).graph.node}
    np.testing.assert_allclose(run(graph), run(graph, opset=20), atol=1e-6)


def test_a_slice_backwards_reaches_the_first_element() -> None:
    (result,) = run(graph_of(ops.Slice((3,), (4,), (-1,)), (4,)))
    np.testing.assert_array_equal(result, values(4)[::-1])


def test_other_outputs_leave_out_what_they_do_not_need() -> None:
    builder = GraphBuilder("g")
    builder.input("x", TensorType(X4))
    builder.one(ops.Relu(), ["x"], output="middle")
    builder.one(ops.Sigmoid(), ["middle"], output="end")
    model = to_onnx(builder.build(outputs=["end"]), outputs=["middle", "middle"])
    assert [node.op_type for node in model.graph.node] == ["Relu"]
    assert [output.name for output in model.graph.output] == ["middle"]


def test_an_opaque_node_is_written_as_it_was_with_new_names() -> None:
    proto = onnx.helper.make_node("CumSum", ["a", "b"], ["c"], reverse=1)
    op = ops.Opaque("", "CumSum", 18, proto.SerializeToString(), "unknown")
    tensors = {"x": TensorType((3,)), "axis": TensorType((), DType.INT64), "y": TensorType((3,))}
    node = Node("sum", op, ("x", "axis"), ("y",))
    graph = Graph("g", ("x",), ("y",), (node,), tensors, {"axis": np.asarray(0)})
    (result,) = run(graph, {"x": np.array([1, 2, 3], np.float32)})
    np.testing.assert_array_equal(result, [6, 5, 3])
    assert to_onnx(graph).opset_import[0].version == 14


def test_an_opaque_node_of_another_domain_imports_the_domain() -> None:
    proto = onnx.helper.make_node("FastGelu", ["a"], ["b"], domain="com.microsoft")
    op = ops.Opaque("com.microsoft", "FastGelu", 1, proto.SerializeToString(), "unknown")
    tensors = {"x": TensorType((3,)), "y": TensorType((3,))}
    graph = Graph("g", ("x",), ("y",), (Node("gelu", op, ("x",), ("y",)),), tensors)
    run(graph, {"x": np.array([1, 2, 3], np.float32)})


@pytest.mark.parametrize(
    "op", [ops.Quantize(), ops.MaxPool((2, 2), (2, 2), NO_PADS, layout=Layout.NHWC)]
)
def test_quantized_and_nhwc_graphs_are_refused(op: ops.Op) -> None:
    tensors = {"x": TensorType(X4), "y": TensorType(X4)}
    graph = Graph("g", ("x",), ("y",), (Node("n", op, ("x",), ("y",)),), tensors)
    with pytest.raises(InternalError, match="'n'"):
        to_onnx(graph)


def test_bfloat16_constants_are_written_in_two_bytes() -> None:
    stored = np.array([1, -2.5, 0.15625], np.float32)
    writer = OnnxWriter(13)
    writer.initializer("w", stored, DType.BFLOAT16)
    writer.node("Cast", ("w",), ("y",), to=1)
    tensor = writer.model("g", {}, {"y": TensorType((3,))}).graph.initializer[0]
    assert len(tensor.raw_data) == 6
    assert np.array_equal(numpy_helper.to_array(tensor).astype(np.float32), stored)


def test_a_type_that_onnx_lacks_is_refused() -> None:
    writer = OnnxWriter(13)
    writer.initializer("w", np.zeros(2, np.uint8), DType.NF4)
    writer.node("Identity", ("w",), ("y",))
    with pytest.raises(InternalError, match="ONNX has no element type nf4"):
        writer.model("g", {}, {"y": TensorType((2,))})
