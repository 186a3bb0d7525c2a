"""What the import makes of a whole graph: names, constants, control flow, functions, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from qhal.errors import ModelInvalidError, ModelShapeError
from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array
from qhal.ir.text import to_text
from tests.core.ir.importing import check_same, floats, imported, kinds, model, only, read


def i64(*values: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(values, np.int64)


# --- names ----------------------------------------------------------------------


def test_names_with_colons_and_dots_stay(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Neg", ["in:0"], ["mid.1:0"], name="a/b:c"),
        helper.make_node("Abs", ["mid.1:0"], ["out;1"], name=""),
    ]
    graph = imported(tmp_path, model(nodes, {"in:0": (2,)}, ["out;1"]))
    assert graph.inputs == ("in:0",)
    assert graph.outputs == ("out;1",)
    assert [node.name for node in graph.nodes] == ["a/b:c", "out;1"]
    assert graph.nodes[0].outputs == ("mid.1:0",)
    assert graph.nodes[1].origin == ("out;1",)


def test_nodes_of_one_name_become_distinct(tmp_path: Path) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["a"], name="n")]
    nodes += [helper.make_node("Abs", ["a"], ["y"], name="n")]
    graph = read(tmp_path, model(nodes, {"x": (2,)})).graph
    assert len({node.name for node in graph.nodes}) == 2
    assert all(node.origin == ("n",) for node in graph.nodes)


def test_import_is_stable(tmp_path: Path) -> None:
    nodes = [helper.make_node("Softmax", ["x"], ["y"]), helper.make_node("Mish", ["y"], ["z"])]
    proto = model(nodes, {"x": (2, 3, 4)}, ["z"], opset=18)
    assert to_text(read(tmp_path, proto).graph) == to_text(read(tmp_path, proto).graph)


@pytest.mark.parametrize("op", ["Identity", "Dropout"])
@pytest.mark.parametrize("outputs", [("y",), ("y", "a"), ("a", "y")])
def test_nodes_that_do_nothing_go(tmp_path: Path, op: str, outputs: tuple[str, ...]) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["a"]), helper.make_node(op, ["a"], ["y"])]
    graph = imported(tmp_path, model(nodes, {"x": (2,)}, outputs))
    assert graph.outputs == outputs
    assert kinds(graph) == ["Neg", "Reshape"][: len(outputs)]


def test_an_input_may_be_an_output(tmp_path: Path) -> None:
    graph = imported(tmp_path, model([helper.make_node("Identity", ["x"], ["y"])], {"x": (2,)}))
    assert (graph.inputs, graph.outputs) == (("x",), ("y",))
    assert only(graph).op == ops.Reshape((2,))


def test_a_constant_may_be_an_output(tmp_path: Path) -> None:
    nodes = [helper.make_node("Shape", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["z"])]
    graph = imported(tmp_path, model(nodes, {"x": (2, 5)}, ("y", "z")))
    assert graph.outputs == ("y", "z")
    assert graph.tensors["y"].dtype is DType.INT64


def test_a_constant_output_that_is_also_read(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Neg", ["c"], ["k"]),
        helper.make_node("Mul", ["x", "k"], ["y"]),
    ]
    graph = imported(tmp_path, model(nodes, {"x": (2,)}, ("k", "y"), constants={"c": floats(2)}))
    assert graph.outputs == ("k", "y")


def test_casts_between_float_types_go(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("Neg", ["h"], ["n"]),
        helper.make_node("Cast", ["n"], ["y"], to=TensorProto.FLOAT),
    ]
    graph = read(tmp_path, model(nodes, {"x": (2,)})).graph
    assert kinds(graph) == ["Neg"]


# --- constants ------------------------------------------------------------------


def test_shape_arithmetic_vanishes(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "zeros"], ["n1"]),
        helper.make_node("Concat", ["n1", "minus"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["y"]),
    ]
    constants = {"zero": np.array(0), "zeros": i64(0), "minus": i64(-1)}
    graph = imported(tmp_path, model(nodes, {"x": (2, 3, 4)}, constants=constants))
    assert only(graph).op == ops.Reshape((2, 12))
    assert not graph.constants


def test_ranges_and_masks_are_computed(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Range", ["zero", "four", "one"], ["r"]),
        helper.make_node("Unsqueeze", ["r", "zeros"], ["row"]),
        helper.make_node("Unsqueeze", ["r", "ones"], ["column"]),
        helper.make_node("Less", ["row", "column"], ["below"]),
        helper.make_node("ConstantOfShape", ["shape"], ["fill"]),
        helper.make_node("Where", ["below", "fill", "half"], ["mask"]),
        helper.make_node("Mul", ["x", "mask"], ["y"]),
    ]
    constants: dict[str, Any] = {"zero": np.array(0), "four": np.int64(4), "one": np.int64(1)}
    constants |= {"zeros": i64(0), "ones": i64(1), "shape": i64(4, 4), "half": np.float32(0.5)}
    graph = imported(tmp_path, model(nodes, {"x": (4, 4)}, constants=constants))
    assert kinds(graph) == ["Mul"]


def test_equal_constants_are_one(tmp_path: Path) -> None:
    weight = floats(40, 40)
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["t"]),
        helper.make_node("MatMul", ["t", "b"], ["y"]),
    ]
    constants = {"a": weight, "b": weight.copy()}
    graph = imported(tmp_path, model(nodes, {"x": (3, 40)}, constants=constants))
    assert list(graph.constants) == ["a"]


def test_weights_behind_a_reshape_are_weights(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["w", "s"], ["w2"]),
        helper.make_node("MatMul", ["x", "w2"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["y"]),
    ]
    constants: dict[str, Array] = {"w": floats(2, 3, 5), "s": i64(6, 5), "b": floats(1, 5)}
    graph = imported(tmp_path, model(nodes, {"x": (1, 6)}, constants=constants, opset=8))
    assert kinds(graph) == ["FullyConnected"]


def test_weights_in_constant_nodes(tmp_path: Path) -> None:
    value = onnx.numpy_helper.from_array(floats(30, 30))
    nodes = [
        helper.make_node("Constant", [], ["w"], value=value),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    graph = imported(tmp_path, model(nodes, {"x": (1, 30)}))
    assert kinds(graph) == ["FullyConnected"]
    assert not graph.constants["w"].flags.owndata


def test_dequantized_weights_are_weights(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    constants: dict[str, Array] = {
        "q": np.arange(12, dtype=np.int8).reshape(4, 3),
        "s": np.array(0.5, np.float32),
        "z": np.array(2, np.int8),
    }
    graph = read(tmp_path, model(nodes, {"x": (1, 4)}, constants=constants)).graph
    wanted = (np.arange(12).reshape(4, 3) - 2) * 0.5
    assert np.array_equal(graph.constants["w"], wanted.T)


# --- control flow and functions ----------------------------------------------------


def branch(name: str, op: str) -> onnx.GraphProto:
    """A branch that applies ``op`` to the outer tensor ``x``."""
    info = helper.make_tensor_value_info(name, TensorProto.FLOAT, (2,))
    return helper.make_graph([helper.make_node(op, ["x"], [name])], name, [], [info])


def if_node(condition: str) -> onnx.NodeProto:
    return helper.make_node(
        "If", [condition], ["y"], then_branch=branch("t", "Neg"), else_branch=branch("e", "Abs")
    )


@pytest.mark.parametrize(("condition", "kind"), [(True, "Neg"), (False, "Abs")])
def test_if_with_a_constant_condition(tmp_path: Path, condition: bool, kind: str) -> None:
    constants = {"c": np.array(condition)}
    graph = imported(tmp_path, model([if_node("c")], {"x": (2,)}, constants=constants))
    assert kinds(graph) == [kind]
    assert graph.outputs == ("y",)


def test_if_on_data_is_refused(tmp_path: Path) -> None:
    proto = model([if_node("c")], {"x": (2,), "c": np.array(True)})
    with pytest.raises(ModelInvalidError, match=r"If 'y' runs .* reads 'x' .* which branch runs"):
        read(tmp_path, proto)


def test_functions_are_inlined(tmp_path: Path) -> None:
    body = [
        helper.make_node("Mul", ["a", "a"], ["b"]),
        helper.make_node("LeakyRelu", ["b"], ["c"]),
    ]
    body[1].attribute.append(
        onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    )
    function = helper.make_function(
        "mine", "Square", ["a"], ["c"], body, [helper.make_opsetid("", 13)], ["slope"]
    )
    nodes = [
        helper.make_node("Square", ["x"], ["t"], domain="mine", slope=0.5),
        helper.make_node("Square", ["t"], ["y"], domain="mine", slope=0.25),
    ]
    proto = model(nodes, {"x": (2,)}, domains={"mine": 1}, functions=[function])
    graph = imported(tmp_path, proto)
    assert kinds(graph) == ["Mul", "LeakyRelu"] * 2
    assert graph.nodes[-1].op == ops.LeakyRelu(0.25)


def test_operators_that_onnxruntime_lacks_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("Strange", ["x"], ["y"], domain="com.example")
    proto = model([node], {"x": ("N", 2)}, domains={"com.example": 1})
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, ("N", 7)))
    with pytest.raises(ModelInvalidError, match=r"'y' is a com\.example::Strange, which ONNX Runt"):
        read(tmp_path, proto)


def test_classical_models_are_told_from_networks(tmp_path: Path) -> None:
    node = helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[0.0], scale=[2.0])
    with pytest.raises(ModelShapeError, match="not part of a neural network"):
        read(tmp_path, model([node], {"x": (1, 2)}, domains={"ai.onnx.ml": 3}))


def test_operators_of_onnxruntime(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gelu", ["x"], ["a"], domain="com.microsoft"),
        helper.make_node("FastGelu", ["a"], ["b"], domain="com.microsoft"),
        helper.make_node("QuickGelu", ["b"], ["y"], domain="com.microsoft"),
    ]
    proto = model(nodes, {"x": (2, 3)}, domains={"com.microsoft": 1})
    graph = read(tmp_path, proto).graph
    assert kinds(graph) == ["Gelu", "Gelu", "Mul", "Sigmoid", "Mul"]
    check_same(proto.SerializeToString(), graph)


# --- what is not valid ------------------------------------------------------------


def test_quantized_models_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("QuantizeLinear", ["x", "s"], ["y"], name="q")
    proto = model([node], {"x": (2,)}, constants={"s": np.array(0.1, np.float32)})
    with pytest.raises(ModelInvalidError, match="already quantized: node 'q'"):
        read(tmp_path, proto)


def test_old_opsets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalidError, match="opset 6; qhal reads opset 7 and newer"):
        read(tmp_path, model([helper.make_node("Relu", ["x"], ["y"])], {"x": (1,)}, opset=6))


def test_shapes_that_depend_on_data_are_refused(tmp_path: Path) -> None:
    proto = model([helper.make_node("NonZero", ["x"], ["y"])], {"x": (2,)})
    with pytest.raises(ModelShapeError, match=r"'y'.*unknown until the model runs"):
        read(tmp_path, proto)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (helper.make_node("Add", ["x", "gone"], ["y"], name="n"), "'gone'"),
        (helper.make_node("Add", ["x"], ["y"], name="n"), "'n'.*operand 1 \\(B\\) is missing"),
        (helper.make_node("Pad", ["x", "p"], ["y"], name="n"), "'n'.*cut off more than"),
        (helper.make_node("Sum", ["x", ""], ["y"], name="n"), "'n'.*operand 1 .*is missing"),
        (helper.make_node("CenterCropPad", [], ["y"], name="n"), "'n'.*operand 0 .*is missing"),
        (helper.make_node("Relu", ["x", "x"], ["y"], name="n"), "'n'.*2 operands"),
        (helper.make_node("Relu", ["x"], ["y", "z"], name="n"), "'n'.*2 results"),
        (helper.make_node("Transpose", ["x"], ["y"], name="n", perm=[0, 5]), "'n'.*permutation"),
        (helper.make_node("Concat", ["x", "x"], ["y"], name="n", axis=7), "'n'.*axis 7"),
        (helper.make_node("MaxPool", ["x"], ["y"], name="n"), "'n'.*kernel_shape"),
        (helper.make_node("LeakyRelu", ["x"], ["y"], name="n", alpha="a"), "'n' \\(LeakyRelu\\)"),
        (helper.make_node("Conv", ["x", "w"], ["y"], name="n"), "'n' \\(Conv\\)"),
    ],
)
def test_nodes_that_make_no_sense(tmp_path: Path, node: onnx.NodeProto, message: str) -> None:
    proto = model(
        [node],
        {"x": (2, 3)},
        constants={"w": floats(2, 3, 1), "p": i64(-(1 << 63), 9, 0, 7)},
        opset=18,
    )
    with pytest.raises(ModelInvalidError, match=message):
        read(tmp_path, proto)


def test_outputs_that_nothing_makes(tmp_path: Path) -> None:
    proto = model([helper.make_node("Relu", ["x"], ["y"])], {"x": (1,)}, ["other"])
    with pytest.raises(ModelInvalidError, match="'other'"):
        read(tmp_path, proto)


def test_inputs_of_one_name(tmp_path: Path) -> None:
    proto = model([helper.make_node("Relu", ["x"], ["y"])], {"x": (1,)})
    proto.graph.input.append(proto.graph.input[0])
    with pytest.raises(ModelInvalidError, match="2 inputs called 'x'"):
        read(tmp_path, proto)


@pytest.mark.parametrize("op", ["Identity", "Relu"])
def test_an_output_that_is_listed_twice_is_one(tmp_path: Path, op: str) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["a"]), helper.make_node(op, ["a"], ["y"])]
    graph = read(tmp_path, model(nodes, {"x": (2,)}, ["y", "a", "y"])).graph
    assert graph.outputs == ("y", "a")


@pytest.mark.parametrize("dims", [(1, 1 << 31), (1 << 40, 0)])
def test_tensors_that_no_runtime_can_address(tmp_path: Path, dims: tuple[int, ...]) -> None:
    node = helper.make_node("Tile", ["x", "r"], ["y"], name="n")
    proto = model([node], {"x": (1, 1)}, constants={"r": i64(*dims)})
    with pytest.raises(ModelShapeError, match="'y', made by node 'n'"):
        read(tmp_path, proto)


def test_a_tensor_without_elements_is_a_constant(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Tile", ["x", "r"], ["none"]),
        helper.make_node("Neg", ["none"], ["minus"]),
        helper.make_node("ReduceSum", ["minus"], ["zero"], keepdims=0),
        helper.make_node("Add", ["x", "zero"], ["y"]),
    ]
    graph = imported(tmp_path, model(nodes, {"x": (2, 3)}, constants={"r": i64(1, 0)}))
    assert kinds(graph) == ["Add"]


def test_outputs_without_elements(tmp_path: Path) -> None:
    nodes = [helper.make_node("Tile", ["x", "r"], ["y"])]
    proto = model(nodes, {"x": (2, 3)}, constants={"r": i64(1, 0)})
    with pytest.raises(ModelShapeError, match=r"Output 'y' has no elements: it is float32\[2x0\]"):
        read(tmp_path, proto)


def test_sizes_that_overflow_in_shape_inference(tmp_path: Path) -> None:
    node = helper.make_node("Resize", ["x", "", "s"], ["y"], name="n")
    constants = {"s": np.full(4, 1e30, np.float32)}
    with pytest.raises(ModelShapeError, match="'y', made by node 'n'"):
        read(tmp_path, model([node], {"x": (1, 1, 2, 2)}, constants=constants))


def _untyped(node: onnx.NodeProto) -> onnx.NodeProto:
    node.attribute.add(name="bar")  # its type is 0, UNDEFINED
    return node


@pytest.mark.parametrize(
    "node",
    [
        _untyped(helper.make_node("TfIdfVectorizer", ["x"], ["y"], name="n")),
        _untyped(helper.make_node("Foo", ["x"], ["y"], name="n", domain="own")),
        _untyped(helper.make_node("Det", ["x"], ["y"], name="n")),
        _untyped(helper.make_node("Relu", ["x"], ["y"], name="n")),
    ],
)
def test_an_attribute_without_a_type(tmp_path: Path, node: onnx.NodeProto) -> None:
    proto = model([node], {"x": (2, 2)}, domains={"own": 1})
    with pytest.raises(ModelInvalidError, match=r"Node 'n' .* attribute 'bar' has no type"):
        read(tmp_path, proto)


def test_an_attribute_without_a_type_in_a_loop(tmp_path: Path) -> None:
    inner = _untyped(helper.make_node("Det", ["a"], ["b"], name="m"))
    infos = [helper.make_tensor_value_info("i", TensorProto.INT64, [])]
    infos += [helper.make_tensor_value_info("go", TensorProto.BOOL, [])]
    infos += [helper.make_tensor_value_info("a", TensorProto.FLOAT, [2, 2])]
    outputs = [onnx.ValueInfoProto(name=name) for name in ("go", "b")]
    body = helper.make_graph([inner], "body", infos, outputs)
    node = helper.make_node("Loop", ["x", "", "s"], ["y"], name="n", body=body)
    inputs = {"x": np.array(3), "s": floats(2, 2)}
    with pytest.raises(ModelInvalidError):
        read(tmp_path, model([node], inputs))


@pytest.mark.parametrize("axes", [(1, 1), (0, -4), (1,) * 12])
def test_axes_that_repeat(tmp_path: Path, axes: tuple[int, ...]) -> None:
    node = helper.make_node("Unsqueeze", ["x", "axes"], ["y"], name="n")
    proto = model([node], {"x": (2, 2)}, constants={"axes": i64(*axes)})
    with pytest.raises(ModelInvalidError, match=r"Node 'n' .* repeat one"):
        read(tmp_path, proto)
