"""Running graphs: what is kept, what is refused, what other runtimes compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from qhal.errors import InternalError
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, Graph, Node, TensorType
from qhal.ir.ops import Layout, Op
from qhal.quant.model import QuantModel, QuantParams
from qhal.quant.oracle import Oracle
from qhal.targets.capability import Arithmetic


def chain() -> Graph:
    builder = GraphBuilder("chain")
    x = builder.input("x", TensorType((2, 3)))
    hidden = builder.one(ops.Relu(), [x], name="hidden")
    both = builder.one(ops.Add(), [hidden, x], name="both")
    return builder.build(outputs=[builder.one(ops.Unary("Neg"), [both], name="y")])


X = np.array([[1.0, -2.0, 3.0], [-1.0, 0.0, 5.0]], np.float32)


def test_only_outputs_and_what_is_kept_come_back() -> None:
    graph = chain()
    oracle, (output,) = Oracle(QuantModel(graph)), graph.outputs
    hidden = graph.nodes[0].outputs[0]
    assert oracle.run({"x": X}).keys() == {output}
    found = oracle.run({"x": X}, keep=[hidden, "x"])
    assert found.keys() == {output, hidden, "x"}
    assert np.array_equal(found[hidden], np.maximum(X, 0))
    assert np.array_equal(found[output], -(np.maximum(X, 0) + X))


@pytest.mark.parametrize(
    "inputs", [{}, {"x": X[:1]}, {"x": X.astype(np.float64)}], ids=["none", "shape", "type"]
)
def test_inputs_that_do_not_fit(inputs: dict[str, np.ndarray]) -> None:
    with pytest.raises(InternalError, match="input 'x'"):
        Oracle(QuantModel(chain())).run(inputs)


def test_an_unknown_tensor() -> None:
    with pytest.raises(InternalError, match="nowhere"):
        Oracle(QuantModel(chain())).run({"x": X}, keep=["nowhere"])


class Strange(Op):
    """No kernel."""


def test_an_unknown_operator() -> None:
    kind = TensorType((2, 3))
    nodes = (Node("n", Strange(), ("x",), ("y",)),)
    graph = Graph("g", ("x",), ("y",), nodes, {"x": kind, "y": kind})
    with pytest.raises(InternalError, match="Strange"):
        Oracle(QuantModel(graph)).run({"x": X})


def test_a_scalar_stays_a_scalar() -> None:
    builder = GraphBuilder()
    x = builder.input("x", TensorType((3,)))
    y = builder.one(ops.Reduce("Sum", (0,), keepdims=False), [x], name="y")
    found = Oracle(QuantModel(builder.build(outputs=[y]))).run({"x": X[0]})
    assert found[y].shape == ()


def test_an_opaque_node_runs_in_onnx_runtime() -> None:
    proto = helper.make_node("CumSum", ["a", "b"], ["c"], reverse=1)
    op = ops.Opaque("", "CumSum", 14, proto.SerializeToString(), "no canonical form")
    kind = TensorType((2, 3))
    tensors = {"x": kind, "axis": TensorType((), DType.INT64), "y": kind}
    node = Node("n", op, ("x", "axis"), ("y",))
    graph = Graph("g", ("x",), ("y",), (node,), tensors, {"axis": np.array(1)})
    found = Oracle(QuantModel(graph)).run({"x": X})["y"]
    assert np.array_equal(found, np.cumsum(X[:, ::-1], axis=1)[:, ::-1])
    assert onnx.NodeProto.FromString(op.proto) == proto


def test_float16_weights_compute_in_float32() -> None:
    weight = np.array([[0.1, 0.2, 0.3]], np.float16)
    tensors = {
        "x": TensorType((2, 3)),
        "w": TensorType((1, 3), DType.FLOAT16),
        "y": TensorType((2, 1)),
    }
    node = Node("n", ops.FullyConnected(), ("x", "w"), ("y",))
    graph = Graph("g", ("x",), ("y",), (node,), tensors, {"w": weight})
    found = Oracle(QuantModel(graph)).run({"x": X})["y"]
    assert found.dtype == np.float32
    assert np.array_equal(found, X @ weight.astype(np.float32).T)


def grouped_weight_model(arithmetic: Arithmetic) -> QuantModel:
    scale = np.array([[0.5, 0.25]], np.float32)
    params = QuantParams(DType.INT4, scale, np.zeros((1, 2), np.int64), 0, 2)
    tensors = {
        "x": TensorType((2, 3)),
        "w": TensorType((1, 3), DType.INT4),
        "y": TensorType((2, 1)),
    }
    node = Node("n", ops.FullyConnected(), ("x", "w"), ("y",))
    graph = Graph("g", ("x",), ("y",), (node,), tensors, {"w": np.array([[1, 2, 4]], np.int8)})
    return QuantModel(graph, {"w": params}, {}, arithmetic)


@pytest.mark.parametrize("arithmetic", list(Arithmetic))
def test_weights_per_group_are_dequantized(arithmetic: Arithmetic) -> None:
    found = Oracle(grouped_weight_model(arithmetic)).run({"x": X})["y"]
    assert np.array_equal(found, X @ np.array([[0.5], [1.0], [1.0]], np.float32))


def test_both_layouts_of_an_integer_model_agree() -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(-128, 128, (1, 4, 6, 5)).astype(np.int8)
    w = rng.integers(-127, 128, (4, 1, 3, 3)).astype(np.int8)
    for arithmetic in Arithmetic:
        first = depthwise(x, w, Layout.NCHW, 0, arithmetic)
        second = depthwise(
            np.moveaxis(x, 1, -1).copy(), np.moveaxis(w, 0, -1).copy(), Layout.NHWC, 3, arithmetic
        )
        assert np.array_equal(np.moveaxis(first, 1, -1), second)


def depthwise(
    x: np.ndarray, w: np.ndarray, layout: Layout, axis: int, arithmetic: Arithmetic
) -> Array:
    scale = np.linspace(0.001, 0.004, 4).astype(np.float32)
    params = {
        "x": QuantParams.per_tensor(DType.INT8, 0.03, 4),
        "w": QuantParams(DType.INT8, scale, np.zeros(4, np.int64), axis),
        "y": QuantParams.per_tensor(DType.INT8, 0.05, -9),
    }
    op = ops.DepthwiseConv((1, 1), (1, 1, 1, 1), (1, 1), layout=layout)
    tensors = {
        "x": TensorType(x.shape, DType.INT8),
        "w": TensorType(w.shape, DType.INT8),
        "y": TensorType(x.shape, DType.INT8),
    }
    graph = Graph("g", ("x",), ("y",), (Node("n", op, ("x", "w"), ("y",)),), tensors, {"w": w})
    return Oracle(QuantModel(graph, params, {}, arithmetic)).run({"x": x})["y"]


def test_an_operator_without_an_integer_kernel_goes_through_float() -> None:
    params = QuantParams.per_tensor(DType.INT8, 0.1, 0)
    tensors = {name: TensorType((4,), DType.INT8) for name in ("a", "b", "y")}
    node = Node("n", ops.Div(), ("a", "b"), ("y",))
    graph = Graph("g", ("a", "b"), ("y",), (node,), tensors)
    model = QuantModel(graph, {"a": params, "b": params, "y": params})
    a, b = np.array([10, -10, 5, 7], np.int8), np.array([2, 4, 4, 1], np.int8)
    found = Oracle(model).run({"a": a, "b": b})["y"]
    assert found.tolist() == [50, -25, 13, 70]  # 12.5 goes away from zero


def test_zoo_models_in_float(zoo: Path) -> None:
    import onnxruntime

    from qhal.ir.importer import import_model

    rng = np.random.default_rng(1)
    bound = {"rnnoise": {"input": (1, 7, 42)}}
    for name in ("mlperf_tiny_kws", "squeezenet1_1", "rnnoise", "yunet_n_320"):
        path = zoo / "models" / f"{name}.onnx"
        graph = import_model(path, bound.get(name, {})).graph
        feeds = {
            name: rng.normal(size=graph.tensors[name].shape).astype(np.float32)
            for name in graph.inputs
        }
        session = onnxruntime.InferenceSession(path)
        names = [output.name for output in session.get_outputs()]
        ours = Oracle(QuantModel(graph)).run(feeds)
        for output, theirs in zip(names, session.run(names, feeds), strict=True):
            np.testing.assert_allclose(
                ours[output], theirs, atol=1e-5 * max(1, np.abs(theirs).max())
            )
