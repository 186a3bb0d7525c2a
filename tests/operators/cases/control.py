"""Cases of control flow, sequences and optional values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.operators.cases.case import Case, Fed, f32, i64, scalar

_FLOAT, _INT, _BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
Value = tuple[str, int, Sequence[int]]


def control() -> Iterator[Case]:
    """Yield the cases."""
    branches = {"then_branch": _branch("Relu"), "else_branch": _branch("Neg")}
    yield Case("If", (Fed(np.array(True)),), branches, since=13)
    yield from _loops()
    yield from _scans()


def _graph(
    nodes: list[onnx.NodeProto], inputs: list[Value], outputs: list[Value], **constants: np.ndarray
) -> onnx.GraphProto:
    made = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    given, results = (
        [helper.make_tensor_value_info(*value) for value in side] for side in (inputs, outputs)
    )
    return helper.make_graph(nodes, "body", given, results, made)


def _branch(kind: str) -> onnx.GraphProto:
    node = helper.make_node(kind, ["c"], ["r"])
    return _graph([node], [], [("r", _FLOAT, [3])], c=f32(-1, 0.5, 2))


def _loops() -> Iterator[Case]:
    nodes = [
        helper.make_node("Mul", ["state", "factor"], ["next"]),
        helper.make_node("Add", ["next", "factor"], ["seen"]),
        helper.make_node("Identity", ["go"], ["on"]),
    ]
    body = _graph(
        nodes,
        [("i", _INT, []), ("go", _BOOL, []), ("state", _FLOAT, [3])],
        [("on", _BOOL, []), ("next", _FLOAT, [3]), ("seen", _FLOAT, [3])],
        factor=f32(0.5, 0.7, -1.1),
    )
    for trips in (1, 3):
        operands = (scalar(trips, np.int64), np.array(True), (3,))
        yield Case("Loop", operands, {"body": body}, since=13, results=("y", "s"))
        yield Case("Loop", (operands[0], None, (3,)), {"body": body}, 13, results=("y", "s"))
    fed = (Fed(scalar(3, np.int64)), np.array(True), (3,))
    yield Case("Loop", fed, {"body": body}, since=13, results=("y", ""))
    counted = [
        helper.make_node("Cast", ["i"], ["f"], to=_FLOAT),
        helper.make_node("Add", ["state", "f"], ["next"]),
        helper.make_node("Less", ["i", "last"], ["on"]),
    ]
    early = _graph(
        counted,
        [("i", _INT, []), ("go", _BOOL, []), ("state", _FLOAT, [3])],
        [("on", _BOOL, []), ("next", _FLOAT, [3])],
        last=scalar(1, np.int64),
    )
    yield Case("Loop", (scalar(9, np.int64), np.array(True), (3,)), {"body": early}, 13)


def _scans() -> Iterator[Case]:
    nodes = [
        helper.make_node("Add", ["state", "x"], ["next"]),
        helper.make_node("Identity", ["next"], ["seen"]),
    ]
    body = _graph(
        nodes,
        [("state", _FLOAT, [3]), ("x", _FLOAT, [3])],
        [("next", _FLOAT, [3]), ("seen", _FLOAT, [3])],
    )
    plain = {"body": body, "num_scan_inputs": 1}
    for more in (
        {},
        {"scan_input_directions": [1]},
        {"scan_output_directions": [1]},
        {"scan_input_directions": [1], "scan_output_directions": [1]},
        {"scan_input_axes": [1]},
        {"scan_output_axes": [1]},
    ):
        shape = (3, 4) if "scan_input_axes" in more else (4, 3)
        yield Case("Scan", ((3,), shape), {**plain, **more}, since=11, results=("y", "s"))


def sequences() -> Iterator[onnx.ModelProto]:
    """Yield models of several nodes with a sequence between them."""
    split = helper.make_node("SplitToSequence", ["x", "parts"], ["s"], axis=1)
    parts = i64(2, 2)
    for nodes in (
        [split, helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=1)],
        [split, helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0, new_axis=1)],
        [split, helper.make_node("SequenceAt", ["s", "one"], ["y"])],
        [split, helper.make_node("SequenceLength", ["s"], ["y"])],
        [
            helper.make_node("SequenceConstruct", ["x", "x"], ["s"]),
            helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=-1),
        ],
    ):
        graph = helper.make_graph(
            nodes,
            "sequence",
            [helper.make_tensor_value_info("x", _FLOAT, [2, 4])],
            [onnx.ValueInfoProto(name="y")],
            [
                onnx.numpy_helper.from_array(parts, "parts"),
                onnx.numpy_helper.from_array(scalar(1, np.int64), "one"),
            ],
        )
        yield helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=10)
