"""Every operator that has a canonical form, in the forms that opsets 7 and newer give it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from qhal.ir import ops
from tests.core.ir.importing import floats, imported, kinds, model, only, read


@dataclass(frozen=True)
class Case:
    """One node with its constant operands, and the kinds that it becomes."""

    op: str
    x: tuple[int, ...]
    kinds: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    constants: tuple[Any, ...] = ()
    opset: int = 13
    outputs: int = 1

    def __str__(self) -> str:
        return f"{self.op}-{self.opset}-{self.kinds}-{len(self.constants)}"


def i64(*values: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(values, np.int64)


def f32(*values: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array(values, np.float32)


IMAGE = (1, 4, 9, 9)
W, B = floats(6, 4, 3, 3), floats(6)
POSITIVE = np.abs(floats(4)) + 0.5
NORM = (floats(4), floats(4), floats(4), POSITIVE)
FLOORED = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}

CASES = [
    # convolutions
    Case("Conv", IMAGE, "Conv", {"pads": [1, 1, 1, 1]}, (W, B)),
    Case("Conv", IMAGE, "Conv", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, (W,), 7),
    Case("Conv", IMAGE, "Conv", {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, (W,), 11),
    Case("Conv", IMAGE, "Conv", {"auto_pad": "VALID", "dilations": [2, 2]}, (W,)),
    Case("Conv", IMAGE, "Conv", {"group": 2}, (floats(6, 2, 3, 3),)),
    Case("Conv", IMAGE, "DepthwiseConv", {"group": 4}, (floats(8, 1, 3, 3), floats(8))),
    Case("Conv", (1, 4, 9), "Conv", {"pads": [1, 0]}, (floats(6, 4, 3),)),
    Case("Conv", (1, 2, 5, 5, 5), "Conv", {}, (floats(3, 2, 2, 2, 2),)),
    Case("ConvTranspose", IMAGE, "ConvTranspose", {"strides": [2, 2]}, (floats(4, 3, 3, 3),)),
    Case(
        "ConvTranspose",
        IMAGE,
        "ConvTranspose",
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1], "group": 2},
        (floats(4, 3, 3, 3), floats(6)),
    ),
    Case(
        "ConvTranspose",
        IMAGE,
        "ConvTranspose",
        {"strides": [2, 2], "output_shape": [18, 18]},
        (floats(4, 3, 3, 3),),
    ),
    Case(
        "ConvTranspose",
        IMAGE,
        "ConvTranspose",
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
        (floats(4, 3, 3, 3),),
    ),
    # matrix products
    Case("Gemm", (3, 5), "FullyConnected", {"alpha": 0.5, "beta": 2.0}, (floats(5, 4), floats(4))),
    Case("Gemm", (3, 5), "FullyConnected", {"transB": 1}, (floats(4, 5), floats(1, 4)), 7),
    Case("Gemm", (5, 3), "Transpose FullyConnected", {"transA": 1}, (floats(5, 4),)),
    Case("Gemm", (3, 5), "FullyConnected Add", {}, (floats(5, 4), floats(3, 1))),
    Case("MatMul", (2, 3, 5), "FullyConnected", {}, (floats(5, 4),)),
    Case("MatMul", (2, 3, 5), "MatMul", {}, (floats(2, 5, 4),)),
    Case("MatMul", (5,), "Reshape FullyConnected Reshape", {}, (floats(5, 4),)),
    # pools
    Case("MaxPool", IMAGE, "MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2]}, (), 8),
    Case(
        "MaxPool",
        (1, 4, 10, 10),
        "MaxPool",
        {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
        (),
        10,
    ),
    Case(
        "MaxPool",
        IMAGE,
        "MaxPool",
        {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1},
    ),
    Case(
        "AveragePool", IMAGE, "AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, (), 7
    ),
    Case(
        "AveragePool",
        IMAGE,
        "AveragePool",
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1},
        (),
        11,
    ),
    Case(
        "AveragePool",
        (1, 4, 10, 10),
        "AveragePool",
        {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    ),
    Case(
        "AveragePool",
        (1, 4, 8, 8),
        "Pad AveragePool",
        {
            **{"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
            **{"ceil_mode": 1, "count_include_pad": 1},
        },
        (),
        19,
    ),
    Case("GlobalAveragePool", IMAGE, "ReduceMean"),
    Case("GlobalMaxPool", IMAGE, "ReduceMax"),
    # resampling
    Case("Upsample", IMAGE, "Resize", {"scales": [1.0, 1.0, 2.0, 2.0]}, (), 7),
    Case("Upsample", IMAGE, "Resize", {"mode": "linear"}, (f32(1, 1, 2, 2),), 9),
    Case("Resize", IMAGE, "Resize", {"mode": "nearest"}, (f32(1, 1, 2, 3),), 10),
    Case("Resize", IMAGE, "Resize", {"mode": "linear"}, (f32(), f32(1, 1, 2, 2)), 11),
    Case("Resize", IMAGE, "Resize", {"mode": "nearest"}, (None, f32(1, 1, 2, 2))),
    Case(
        "Resize",
        IMAGE,
        "Resize",
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        (None, None, i64(1, 4, 5, 13)),
    ),
    Case(
        "Resize",
        IMAGE,
        "Resize",
        {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        },
        (None, None, i64(1, 4, 18, 18)),
    ),
    Case("Resize", IMAGE, "Resize", {"axes": [3, 2]}, (None, f32(2, 3)), 18),
    Case("DepthToSpace", IMAGE, "DepthToSpace", {"blocksize": 2}, (), 7),
    Case("DepthToSpace", IMAGE, "DepthToSpace", {"blocksize": 2, "mode": "CRD"}, (), 11),
    Case("SpaceToDepth", (1, 3, 4, 4), "SpaceToDepth", {"blocksize": 2}),
    # normalization
    Case("BatchNormalization", IMAGE, "Mul Add", {}, NORM, 7),
    Case("BatchNormalization", IMAGE, "Mul Add", {}, NORM, 15),
    Case("BatchNormalization", (3, 4), "Mul Add", {"spatial": 0}, NORM, 7),
    Case("InstanceNormalization", IMAGE, "InstanceNorm", {}, (floats(4), floats(4)), 7),
    Case("LayerNormalization", (2, 3, 8), "LayerNorm", {"axis": 2}, (floats(8), floats(8)), 17),
    Case("LayerNormalization", (2, 3, 8), "LayerNorm", {"axis": 1}, (floats(3, 8),), 17),
    Case("LRN", IMAGE, "Mul Conv Pow Mul", {"size": 3, "alpha": 0.5}, (), 7),
    Case("LRN", IMAGE, "Mul Conv Pow Mul", {"size": 5, "bias": 2.0}),
    Case("LpNormalization", (2, 5), "Mul ReduceSum Sqrt Clip Div", {"axis": 1}),
    Case("Softmax", (2, 3, 4), "Reshape Softmax Reshape", {}, (), 11),
    Case("Softmax", (2, 3, 4), "Softmax", {"axis": 2}, (), 11),
    Case("Softmax", (2, 3, 1), "Softmax", {"axis": 1}, (), 7),
    Case("Softmax", (2, 3, 4), "Softmax", {}, (), 13),
    Case("LogSoftmax", (2, 3, 4), "LogSoftmax", {"axis": 1}, (), 13),
    Case("LogSoftmax", (2, 3, 4), "Reshape LogSoftmax Reshape", {"axis": 0}, (), 7),
    Case("Hardmax", (2, 3, 4), "Reshape ArgMax Compare Where Reshape", {}, (), 11),
    Case("Hardmax", (2, 3, 4), "Reshape ArgMax Compare Where Reshape", {"axis": 0}, (), 7),
    Case("Hardmax", (2, 3, 4), "ArgMax Compare Where", {"axis": -1}, (), 11),
    Case("Hardmax", (2, 3, 4), "ArgMax Compare Where", {"axis": 1}, (), 13),
    Case(
        "GroupNormalization",
        IMAGE,
        "Reshape InstanceNorm Reshape Mul Add",
        {"num_groups": 2},
        (floats(4), floats(4)),
        21,
    ),
    Case(
        "MeanVarianceNormalization",
        IMAGE,
        "ReduceMean Mul Mul ReduceMean Sub Sqrt Sub Add Div",
    ),
    # reductions
    Case("ReduceMean", IMAGE, "ReduceMean", {"axes": [2, 3], "keepdims": 0}, (), 11),
    Case("ReduceMean", IMAGE, "ReduceMean", {"keepdims": 0}, (i64(-1),), 18),
    Case("ReduceSum", IMAGE, "ReduceSum", {}, (i64(1),)),
    Case("ReduceSum", IMAGE, "ReduceSum", {"keepdims": 0}, ()),
    Case("ReduceSum", IMAGE, "Reshape", {"noop_with_empty_axes": 1}, ()),
    Case("ReduceMax", IMAGE, "ReduceMax", {"axes": [-1]}, (), 12),
    Case("ReduceMin", IMAGE, "ReduceMin", {}, (i64(0, 2),), 18),
    Case("ReduceL1", IMAGE, "Abs ReduceSum", {"axes": [1]}),
    Case("ReduceL2", IMAGE, "Mul ReduceSum Sqrt", {}, (i64(1),), 18),
    Case("ReduceSumSquare", IMAGE, "Mul ReduceSum", {"axes": [1]}),
    Case("ReduceLogSumExp", IMAGE, "ReduceMax Sub Exp ReduceSum Log Add", {"axes": [1]}),
    Case("ReduceProd", IMAGE, "ReduceProd", {"axes": [1, -1], "keepdims": 0}),
    Case("TopK", IMAGE, "TopK", {"axis": 1}, (i64(2),), 11, outputs=2),
    Case("TopK", IMAGE, "TopK", {"k": 3}, (), 9, outputs=2),
    Case("TopK", IMAGE, "Neg TopK Neg", {"axis": 2, "largest": 0}, (i64(4),), outputs=2),
    Case("ArgMax", IMAGE, "ArgMax", {"axis": 1, "keepdims": 0}, (), 7),
    Case("ArgMin", IMAGE, "Neg ArgMax", {"axis": -1}),
    # activations
    Case("Clip", IMAGE, "Relu6", {"min": 0.0, "max": 6.0}, (), 7),
    Case("Clip", IMAGE, "Relu", {}, (f32(0)[0],), 11),
    Case("Clip", IMAGE, "Clip", {}, (f32(-1)[0], f32(1)[0])),
    Case("Clip", IMAGE, "Clip", {}, (None, f32(1)[0])),
    Case("Clip", IMAGE, "Relu", {"min": 0.0}, (), 7),
    Case("LeakyRelu", IMAGE, "LeakyRelu", {"alpha": 0.3}, (), 7),
    Case("PRelu", IMAGE, "PRelu", {}, (floats(4, 1, 1),), 9),
    Case("Elu", IMAGE, "Elu", {"alpha": 0.5}),
    Case("Selu", IMAGE, "Elu Mul"),
    Case("Celu", IMAGE, "Mul Elu Mul", {"alpha": 2.0}, (), 12),
    Case("Softplus", IMAGE, "Softplus"),
    Case("Softsign", IMAGE, "Abs Add Div"),
    Case("ThresholdedRelu", IMAGE, "Compare Where", {"alpha": 0.5}),
    Case("HardSigmoid", IMAGE, "HardSigmoid", {"alpha": 0.3}),
    Case("HardSwish", IMAGE, "HardSwish", {}, (), 14),
    Case("Mish", IMAGE, "Softplus Tanh Mul", {}, (), 18),
    Case("Gelu", IMAGE, "Gelu", {"approximate": "tanh"}, (), 20),
    # arithmetic with constants
    Case("Sub", IMAGE, "Add", {}, (floats(4, 1, 1),)),
    Case("Div", IMAGE, "Mul", {}, (POSITIVE.reshape(4, 1, 1),)),
    Case("Pow", IMAGE, "Mul", {}, (f32(2)[0],), 7),
    Case("Pow", (3,), "Mul Mul", {}, (i64(3),)),
    Case("Sum", IMAGE, "Add", {}, (floats(*IMAGE), floats(*IMAGE)), 8),
    Case("Mean", IMAGE, "Add Mul", {}, (floats(*IMAGE),), 8),
    Case("Max", IMAGE, "Clip", {}, (f32(0.5)[0],)),
    Case("Min", IMAGE, "Minimum", {}, (floats(*IMAGE),), 8),
    # data movement
    Case("Reshape", IMAGE, "Reshape", {}, (i64(0, -1),), 7),
    Case("Flatten", IMAGE, "Reshape", {"axis": -1}, (), 11),
    Case("Squeeze", (1, 3, 1), "Reshape", {"axes": [2]}, (), 11),
    Case("Squeeze", (1, 3, 1), "Reshape", {}, (i64(-1),)),
    Case("Squeeze", (1, 3, 1), "Reshape"),
    Case("Unsqueeze", (2, 3), "Reshape", {"axes": [0, 3]}, (), 11),
    Case("Unsqueeze", (2, 3), "Reshape", {}, (i64(-1, 0),)),
    Case("Transpose", (2, 3, 4), "Transpose"),
    Case("Concat", IMAGE, "Concat", {"axis": -1}, (floats(*IMAGE),)),
    Case("Split", IMAGE, "Split", {"axis": 1, "split": [1, 3]}, (), 11, outputs=2),
    Case("Split", IMAGE, "Split", {"axis": 1}, (i64(1, 3),), outputs=2),
    Case("Split", IMAGE, "Split", {"axis": 2, "num_outputs": 2}, (), 18, outputs=2),
    Case("Slice", IMAGE, "Slice", {"starts": [1], "ends": [-1], "axes": [2]}, (), 9),
    Case("Slice", IMAGE, "Slice", {}, (i64(-1, 0), i64(-99, 9), i64(2, 3), i64(-2, 3))),
    Case("Pad", IMAGE, "Pad", {"pads": [0, 0, 1, 1, 0, 0, 2, 2], "value": 1.5}, (), 7),
    Case("Pad", IMAGE, "Pad", {"mode": "reflect"}, (i64(0, 0, 1, 1, 0, 0, 2, 2),)),
    Case("Pad", IMAGE, "Pad", {"mode": "edge"}, (i64(1, 2), None, i64(-1)), 18),
    Case("Pad", IMAGE, "Slice Pad", {}, (i64(0, 0, -1, 1, 0, 0, 2, -2), f32(3)[0])),
    Case("Gather", IMAGE, "Slice", {"axis": 1}, (i64(1, 3),)),
    Case("Gather", IMAGE, "Slice Reshape", {"axis": 1}, (np.int64(-1),)),
    Case("Gather", IMAGE, "Gather", {"axis": 1}, (i64(1, 3, 0),), 7),
    Case("Expand", (3, 1), "Expand", {}, (i64(2, 1, 4),), 8),
    Case("Tile", (2, 3), "Tile", {}, (i64(2, 1),)),
    Case("Cast", IMAGE, "Cast", {"to": 6}),
    Case("Trilu", (4, 5), "Where", {"upper": 0}, (np.int64(1),), 14),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operator(tmp_path: Path, case: Case) -> None:
    names = [f"c{i}" if c is not None else "" for i, c in enumerate(case.constants)]
    outputs = ["y", "z"][: case.outputs]
    node = helper.make_node(case.op, ["x", *names], outputs, name="n", **case.attributes)
    constants = {n: c for n, c in zip(names, case.constants, strict=True) if n}
    proto = model([node], {"x": case.x}, outputs, opset=case.opset, constants=constants)
    graph = imported(tmp_path, proto)
    assert kinds(graph) == case.kinds.split()
    assert all(n.origin == ("n",) for n in graph.nodes if n.op != ops.Reshape(case.x))
    assert set(graph.outputs) == set(outputs)


EINSUMS = [
    ("ij,jk->ik", (2, 3), (3, 4), False, "MatMul"),
    ("bhid,bhjd->bhij", (2, 3, 4, 5), (2, 3, 6, 5), False, "Transpose MatMul"),
    ("bid,dhe->bhie", (2, 3, 4), (4, 5, 6), True, "Reshape FullyConnected Reshape Transpose"),
    ("dhe,bid->bhie", (4, 5, 6), (2, 3, 4), False, "Transpose Reshape Reshape Transpose MatMul"),
    ("nchw,ck->nkhw", (1, 3, 2, 2), (3, 5), True, ""),
    ("ij->ji", (2, 3), None, False, "Transpose"),
    ("ijk->ki", (2, 3, 4), None, False, "ReduceSum Transpose"),
    ("i,j", (2,), (3,), False, ""),
    ("ab,ab->a", (2, 3), (2, 3), False, ""),
]


@pytest.mark.parametrize(("equation", "a", "b", "constant", "expected"), EINSUMS)
def test_einsum(
    tmp_path: Path,
    equation: str,
    a: tuple[int, ...],
    b: tuple[int, ...] | None,
    constant: bool,
    expected: str,
) -> None:
    operands = ["a"] if b is None else ["a", "b"]
    node = helper.make_node("Einsum", operands, ["y"], equation=equation)
    inputs: dict[str, Any] = {"a": a} if constant or b is None else {"a": a, "b": b}
    constants = {"b": floats(*b)} if constant and b else {}
    graph = imported(tmp_path, model([node], inputs, constants=constants))
    assert "Einsum" not in kinds(graph)
    assert set(kinds(graph)) >= set(expected.split())


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("states", [False, True])
def test_recurrent(tmp_path: Path, op: str, direction: str, states: bool) -> None:
    steps, batch, features, hidden = 4, 2, 3, 5
    d, gates = (2 if direction == "bidirectional" else 1), (4 if op == "LSTM" else 3)
    constants = {
        "w": floats(d, gates * hidden, features),
        "r": floats(d, gates * hidden, hidden),
        "b": floats(d, 2 * gates * hidden),
    }
    inputs: dict[str, Any] = {"x": (steps, batch, features)}
    operands = ["x", "w", "r", "b"]
    if states:
        names = ["h", "c"][: 2 if op == "LSTM" else 1]
        inputs |= dict.fromkeys(names, (d, batch, hidden))
        operands += ["", *names]
    node = helper.make_node(op, operands, ["y", "yh"], hidden_size=hidden, direction=direction)
    graph = imported(tmp_path, model([node], inputs, ["y", "yh"], constants=constants, opset=14))
    assert kinds(graph) == [op.capitalize()]


def test_gru_with_relu_and_reset_before(tmp_path: Path) -> None:
    constants = {"w": floats(1, 6, 3), "r": floats(1, 6, 2)}
    node = helper.make_node(
        "GRU", ["x", "w", "r"], ["", "y"], hidden_size=2, activations=["Sigmoid", "Relu"]
    )
    node.attribute.append(helper.make_attribute("linear_before_reset", 1))
    graph = imported(tmp_path, model([node], {"x": (4, 1, 3)}, constants=constants))
    assert only(graph).op == ops.Gru(2, "forward", linear_before_reset=True, candidate="Relu")


@pytest.mark.parametrize(
    ("operands", "wanted"),
    [
        (("x", "b"), ["Maximum"]),
        (("x", "", "b"), ["Minimum"]),
        (("x", "b", "one"), ["Maximum", "Clip"]),
        (("x", "one", "b"), ["Clip", "Minimum"]),
        (("x", "b", "most"), ["Maximum"]),
        (("x", "endless", "b"), ["Minimum"]),
    ],
)
def test_clip_to_bounds_that_depend_on_the_inputs(
    tmp_path: Path, operands: tuple[str, ...], wanted: list[str]
) -> None:
    constants = {"one": f32(1)[0], "most": np.finfo(np.float32).max, "endless": f32(-np.inf)[0]}
    node = helper.make_node("Clip", operands, ["y"])
    graph = imported(tmp_path, model([node], {"x": (2, 5), "b": ()}, constants=constants))
    assert kinds(graph) == wanted


def test_batch_major_recurrence_is_transposed(tmp_path: Path) -> None:
    constants = {"w": floats(1, 8, 3), "r": floats(1, 8, 2)}
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y", "yh"], hidden_size=2, layout=1)
    proto = model([node], {"x": (5, 4, 3)}, ["y", "yh"], constants=constants, opset=14)
    graph = read(tmp_path, proto).graph
    assert kinds(graph) == ["Transpose", "Lstm", "Transpose", "Transpose"]
    assert graph.tensors["y"].shape == (5, 4, 1, 2)
    assert graph.tensors["yh"].shape == (5, 1, 2)
