"""Operators of ONNX Runtime's own domain, and operators that only ONNX Runtime knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from qhal.decisions import Code
from qhal.errors import ModelInvalidError, ModelShapeError
from qhal.ir.graph import Array
from tests.core.ir.importing import check_same, floats, kinds, model, only, read

MICROSOFT = "com.microsoft"


def node(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, outputs, domain=MICROSOFT, **attributes)


def single(
    made: onnx.NodeProto,
    inputs: Mapping[str, tuple[int, ...]],
    constants: Mapping[str, Array] | None = None,
) -> onnx.ModelProto:
    names = [name for name in made.output if name]
    return model([made], inputs, names, constants=constants, domains={MICROSOFT: 1})


X, Y, ROW = (2, 3, 4), (2, 4, 5), floats(4)
IMAGE, W, B = (1, 2, 5, 5), floats(3, 2, 3, 3), floats(3)
NORM: dict[str, Array] = {"g": floats(4), "b": floats(4), "c": floats(4)}

CASES: list[tuple[onnx.NodeProto, dict[str, tuple[int, ...]], dict[str, Array], str]] = [
    (node("BiasGelu", ["x", "b"], ["y"]), {"x": X}, {"b": ROW}, "Add Gelu"),
    (node("FastGelu", ["x", "b"], ["y"]), {"x": X}, {"b": ROW}, "Add Gelu"),
    (node("FastGelu", ["x"], ["y"]), {"x": X}, {}, "Gelu"),
    (node("QuickGelu", ["x"], ["y"], alpha=1.3), {"x": X}, {}, "Mul Sigmoid Mul"),
    (
        node("SkipLayerNormalization", ["x", "s", "g"], ["y"], epsilon=0.1),
        {"x": X, "s": X},
        NORM,
        "Add LayerNorm",
    ),
    (
        node("SkipLayerNormalization", ["x", "s", "g", "b", "c"], ["y", "", "", "t"]),
        {"x": X, "s": X},
        NORM,
        "Add Add LayerNorm",
    ),
    (
        node("SkipSimplifiedLayerNormalization", ["x", "s", "g", "c"], ["y", "", "", "t"]),
        {"x": X, "s": X},
        NORM,
        "Add Add Mul ReduceMean Add Rsqrt Mul Mul",
    ),
    (node("FusedMatMul", ["x", "v"], ["y"], alpha=0.5), {"x": X, "v": Y}, {}, "MatMul Mul"),
    (node("FusedMatMul", ["x", "w"], ["y"]), {"x": X}, {"w": floats(4, 5)}, "FullyConnected"),
    (
        node("FusedMatMul", ["x", "w"], ["y"], transA=1, transB=1, alpha=2.0),
        {"x": X},
        {"w": floats(5, 3)},
        "Transpose FullyConnected",
    ),
    (
        node("FusedMatMul", ["x", "v"], ["y"], transB=1),
        {"x": X, "v": (1, 5, 4)},
        {},
        "Transpose MatMul",
    ),
    (node("FusedConv", ["x", "w"], ["y"]), {"x": IMAGE}, {"w": W}, "Conv"),
    (
        node("FusedConv", ["x", "w", "b"], ["y"], activation="Relu", pads=[1, 1, 1, 1]),
        {"x": IMAGE},
        {"w": W, "b": B},
        "Conv Relu",
    ),
    (
        node(
            "FusedConv",
            ["x", "w", "b", "z"],
            ["y"],
            activation="LeakyRelu",
            activation_params=[0.2],
            group=2,
            strides=[2, 2],
        ),
        {"x": IMAGE, "z": (1, 4, 2, 2)},
        {"w": floats(4, 1, 3, 3), "b": floats(4)},
        "DepthwiseConv Add LeakyRelu",
    ),
    (
        node("FusedConv", ["x", "w"], ["y"], activation="Clip", activation_params=[-0.5, 0.7]),
        {"x": IMAGE},
        {"w": W},
        "Conv Clip",
    ),
    (
        node(
            "FusedConv", ["x", "w"], ["y"], activation="HardSigmoid", activation_params=[0.3, 0.4]
        ),
        {"x": IMAGE},
        {"w": W},
        "Conv HardSigmoid",
    ),
]


@pytest.mark.parametrize(("made", "inputs", "constants", "kinds_wanted"), CASES)
def test_operators_compute_what_onnxruntime_does(
    tmp_path: Path,
    made: onnx.NodeProto,
    inputs: dict[str, tuple[int, ...]],
    constants: dict[str, Array],
    kinds_wanted: str,
) -> None:
    used = {name: value for name, value in constants.items() if name in made.input}
    proto = single(made, inputs, used)
    graph = read(tmp_path, proto).graph
    assert " ".join(kinds(graph)) == kinds_wanted
    check_same(proto.SerializeToString(), graph)


def test_root_mean_square_normalization(tmp_path: Path) -> None:
    made = helper.make_node("SimplifiedLayerNormalization", ["x", "g"], ["y"], epsilon=0.01)
    proto = model([made], {"x": X}, constants={"g": ROW})
    graph = read(tmp_path, proto).graph
    assert " ".join(kinds(graph)) == "Mul ReduceMean Add Rsqrt Mul Mul"
    check_same(proto.SerializeToString(), graph)


# --- operators that only ONNX Runtime knows -----------------------------------------


def test_shapes_are_those_that_onnxruntime_infers(tmp_path: Path) -> None:
    made = node("Inverse", ["x"], ["y"], name="n")
    proto = single(made, {"x": (2, 3, 3)})
    result = read(tmp_path, proto)
    found = only(result.graph)
    assert found.op.kind == "com.microsoft::Inverse"
    assert result.graph.tensors["y"].shape == (2, 3, 3)
    (decision,) = result.decisions
    assert decision.code is Code.OPAQUE
    feeds: dict[str, Array] = {"x": floats(2, 3, 3) + 3 * np.eye(3, dtype=np.float32)}
    check_same(proto.SerializeToString(), result.graph, feeds)


def test_shapes_are_those_that_a_run_makes(tmp_path: Path) -> None:
    """The size of a crop is an operand, of which ONNX Runtime infers no shape."""
    made = node("CropAndResize", ["x", "r", "i", "s"], ["y"], name="n")
    constants: dict[str, Array] = {
        "r": np.array([[0, 0, 1, 1], [0.2, 0.1, 0.8, 0.9]], np.float32),
        "i": np.zeros(2, np.int32),
        "s": np.array([3, 4], np.int32),
    }
    proto = single(made, {"x": (1, 2, 8, 8)}, constants)
    graph = read(tmp_path, proto).graph
    assert graph.tensors["y"].shape == (2, 2, 3, 4)
    check_same(proto.SerializeToString(), graph)


def test_shapes_that_depend_on_values_are_refused(tmp_path: Path) -> None:
    made = node("Unique", ["x"], ["y", "i", "c"], name="n")
    with pytest.raises(ModelShapeError, match=r"'n', is unknown .* depend on its operands' values"):
        read(tmp_path, single(made, {"x": (6,)}))


def test_operators_that_nothing_knows_are_refused(tmp_path: Path) -> None:
    made = node("Strange", ["x"], ["y"], name="n")
    with pytest.raises(ModelInvalidError, match=r"'n' is a com.microsoft::Strange, which ONNX Run"):
        read(tmp_path, single(made, {"x": (6,)}))


def test_a_declared_shape_is_taken_where_no_drawn_number_is(tmp_path: Path) -> None:
    """Of the codes that are drawn, none is that of a crop's image."""
    made = node("CropAndResize", ["x", "r", "i", "s"], ["y"], name="n")
    constants: dict[str, Array] = {
        "r": np.array([[0, 0, 1, 1]], np.float32),
        "i": np.full(1, 7, np.int32),
        "s": np.array([3, 4], np.int32),
    }
    proto = single(made, {"x": (1, 2, 8, 8)}, constants)
    with pytest.raises(ModelShapeError, match=r"'n', is unknown .* on drawn numbers"):
        read(tmp_path, proto)
    info = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (1, 2, 3, 4))
    proto.graph.output[0].CopyFrom(info)
    assert read(tmp_path, proto).graph.tensors["y"].shape == (1, 2, 3, 4)
