"""What OpenVINO reads or computes otherwise than ONNX says is written so that it does not."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

import qhal
from qhal.ir import ops
from qhal.ir.graph import Array, Graph, NodeView
from qhal.ir.importer import import_model
from qhal.legal.legalize import legalize
from qhal.plugin.backend import RunOptions
from qhal.quant.model import QuantModel
from qhal.quant.oracle import Oracle
from qhal.targets.profile import TargetProfile
from qhal_backends.openvino.capabilities import capabilities
from qhal_backends.openvino.plugin import OpenVinoBackend
from qhal_backends.openvino.reading import _alone, _digest, _Question, _verdict
from qhal_backends.openvino.resizing import openvino_indices
from qhal_backends.openvino.runner import load_core
from tests.backends.openvino.openvino_models import (
    Constant,
    Shape,
    quantize,
    random_data,
    single,
    sqnr_db,
)
from tests.core.ir.importing import floats, model
from tests.core.ir.test_resampling import COUNTS, MODES, WIDTHS, line, resizes

pytest.importorskip("openvino", reason="pip install 'quant-hal[openvino]'")

CPU = TargetProfile("openvino-cpu", "openvino", "", options={"device": "CPU"})
BACKEND = OpenVinoBackend()


def run(model: QuantModel, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    runner = BACKEND.load(BACKEND.lower(model, CPU), CPU, RunOptions())
    assert runner is not None
    return dict(runner.run(inputs))


def gap_db(graph: Graph) -> float:
    """How close the graph, made legal, is to its own meaning."""
    inputs = random_data(graph).sample(0)
    legal = legalize(graph, capabilities()).graph
    (name,) = graph.outputs
    expected = Oracle(QuantModel(graph)).run(inputs)[name]
    found = run(QuantModel(legal), inputs)[name]
    assert found.shape == expected.shape
    return sqnr_db(expected, found)


@pytest.mark.parametrize("shape", [(1, 4, 4, 4), (1, 4, 4), (1, 3, 4), (4, 4), (2, 3, 4, 2, 5)])
@pytest.mark.parametrize("dynamic", [False, True])
def test_a_slope_of_one_dimension_lies_along_the_last_one(shape: Shape, dynamic: bool) -> None:
    slope = (shape[-1],)
    graph = single(ops.PRelu(), [shape, slope if dynamic else Constant(slope)])
    assert gap_db(graph) > 90


@pytest.mark.parametrize("op", [ops.HardSigmoid(0.0, 0.3), ops.HardSigmoid(-0.2, 0.5)])
def test_hard_sigmoids_of_any_slope(op: ops.Op) -> None:
    assert gap_db(single(op, [(1, 4, 5, 5)])) > 90


@pytest.mark.parametrize("scale", [(4,), (1, 4), (3, 1)])
def test_the_scale_of_a_normalization_is_broadcast(scale: Shape) -> None:
    graph = single(ops.LayerNorm(1), [(2, 3, 4), Constant(scale), Constant(scale)])
    assert gap_db(graph) > 90


@pytest.mark.parametrize("bias", [(), (Constant((5,)),)])
@pytest.mark.parametrize("recipe", ["w8a8", "w8", "fp16"])
def test_a_layer_over_a_vector_makes_a_vector(bias: tuple[Constant, ...], recipe: str) -> None:
    graph = single(ops.FullyConnected(), [(16,), Constant((5, 16)), *bias])
    assert gap_db(graph) > 90
    made = quantize(legalize(graph, capabilities()).graph, recipe)
    inputs = made.data.sample(0)
    (expected,) = Oracle(made.model).run(inputs).values()
    assert sqnr_db(expected, run(made.model, inputs)[graph.outputs[0]]) > 90


TRANSPOSED: list[tuple[ops.ConvTranspose, bool]] = [
    (ops.ConvTranspose((1, 1), (0,) * 4, (2, 2), (0, 0)), True),
    (ops.ConvTranspose((2, 2), (1,) * 4, (1, 1), (1, 1)), True),
    (ops.ConvTranspose((2, 2), (0,) * 4, (1, 1), (1, 1)), False),
    (ops.ConvTranspose((2, 2), (0,) * 4, (1, 1), (1, 0)), False),
    (ops.ConvTranspose((2, 2), (1, 1, 0, 0), (1, 1), (0, 0)), True),
    (ops.ConvTranspose((3, 3), (0,) * 4, (1, 1), (0, 0)), True),
    (ops.ConvTranspose((2, 2), (0,) * 4, (2, 2), (0, 0)), False),
    (ops.ConvTranspose((3, 3), (0,) * 4, (2, 2), (0, 0)), False),
    (ops.ConvTranspose((3, 3), (0,) * 4, (1, 1), (1, 1)), False),
    (ops.ConvTranspose((3,), (1, 1), (1,), (0,)), False),
]
"""With whether they may run on integers."""


@pytest.mark.parametrize(("op", "on_integers"), TRANSPOSED)
def test_transposed_convolutions_at_every_run(op: ops.ConvTranspose, on_integers: bool) -> None:
    rank = len(op.strides)
    weight = Constant((8, 4, *(3,) * rank))
    made = quantize(single(op, [(1, 8, *(6,) * rank), weight, Constant((4,))]))
    assert made.choices["node"].quantized == on_integers
    runner = BACKEND.load(BACKEND.lower(made.model, CPU), CPU, RunOptions())
    assert runner is not None
    for index in range(len(made.data)):
        inputs = made.data.sample(index)
        (expected,) = Oracle(made.model).run(inputs).values()
        (found,) = runner.run(inputs).values()
        assert sqnr_db(expected, found) > 90


@pytest.mark.parametrize(("coordinates", "rounding"), MODES)
def test_nearest_elements_are_foreseen(coordinates: str, rounding: str) -> None:
    core = load_core()
    for size in WIDTHS:
        read = core.read_model(resizes(coordinates, rounding, size).SerializeToString())
        found = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(line(size))
        for count in COUNTS:
            op = ops.Resize("nearest", (count,), coordinates, rounding)
            value = found[f"y{count}"].ravel()
            np.testing.assert_array_equal(value, openvino_indices(op, size, count))


@pytest.mark.parametrize(
    ("coordinates", "rounding", "sizes"),
    [
        ("align_corners", "floor", (7, 24)),
        ("asymmetric", "round_prefer_ceil", (2, 4)),
        ("half_pixel", "floor", (14, 16)),
    ],
)
def test_nearest_elements_are_onnx_runtimes(coordinates: str, rounding: str, sizes: Shape) -> None:
    graph = single(ops.Resize("nearest", sizes, coordinates, rounding), [(1, 2, 7, 8)])
    assert gap_db(graph) > 90


ROI = np.array([0, 0, 0.1, 0.2, 1, 1, 0.8, 0.9], np.float32)
SIZES = np.array([1, 2, 3, 3], np.int64)
PLANE = (1, 2, 6, 6)

TAKEN: dict[str, tuple[str, dict[str, Any]]] = {
    "cubic": ("Resize", {"mode": "cubic"}),
    "Hardmax": ("Hardmax", {"axis": 1}),
    "LpNormalization": ("LpNormalization", {"p": 1}),
}
WRITTEN_OTHERWISE: dict[str, tuple[str, dict[str, Any]]] = {
    "linear with a filter": ("Resize", {"mode": "linear", "antialias": 1}),
    "cubic with a filter": ("Resize", {"mode": "cubic", "antialias": 1}),
    "crop": ("Resize", {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}),
}
"""What OpenVINO takes for something else, and qhal writes in operators that it computes right."""


def onnx_node(op_type: str, attributes: dict[str, Any]) -> onnx.ModelProto:
    """A model of one node over a plane."""
    resizes = op_type == "Resize"
    names = ["x", "roi", "", "sizes"] if resizes else ["x"]
    node = helper.make_node(op_type, names, ["y"], **attributes)
    constants: dict[str, Array] = {"roi": ROI, "sizes": SIZES} if resizes else {}
    return model([node], {"x": PLANE}, opset=19, constants=constants)


def is_taken(proto: onnx.ModelProto, folder: Path) -> bool:
    """What check says; and if deploy says the same."""
    path = folder / "model.onnx"
    onnx.save(proto, path)
    ok = qhal.check(path, target="openvino-cpu").ok
    data = {"x": floats(8, *PLANE[1:])}
    try:
        record = qhal.deploy(path, target="openvino-cpu", data=data, out=folder / "out")
    except qhal.QhalError as error:
        assert not ok, error
        return False
    assert ok
    assert record.metrics["oracle_sqnr"].value > 90
    return True


def float_gap_db(proto: onnx.ModelProto, folder: Path) -> float:
    """SQNR of the first output of an artifact in float against ONNX Runtime."""
    path, images = folder / "model.onnx", floats(8, *PLANE[1:])
    onnx.save(proto, path)
    out = folder / "out"
    qhal.deploy(path, target="openvino-cpu", recipe="fp16", data={"x": images}, out=out)
    compiled = load_core().compile_model(
        out / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    reference = onnxruntime.InferenceSession(path)
    pairs = [
        (reference.run(None, {"x": image[None]})[0], compiled([image[None]])[0]) for image in images
    ]
    exact, found = (np.stack(each) for each in zip(*pairs, strict=True))
    return sqnr_db(exact, found)


@pytest.mark.parametrize(("op_type", "attributes"), TAKEN.values(), ids=TAKEN)
def test_what_is_kept_as_it_is_runs(
    op_type: str, attributes: dict[str, Any], tmp_path: Path
) -> None:
    assert is_taken(onnx_node(op_type, attributes), tmp_path)


@pytest.mark.parametrize(
    ("op_type", "attributes"), WRITTEN_OTHERWISE.values(), ids=WRITTEN_OTHERWISE
)
def test_what_openvino_takes_for_something_else_is_written_otherwise(
    op_type: str, attributes: dict[str, Any], tmp_path: Path
) -> None:
    assert float_gap_db(onnx_node(op_type, attributes), tmp_path) > 60


def test_what_openvino_takes_for_something_else_is_refused_in_check(tmp_path: Path) -> None:
    assert not is_taken(onnx_node("Det", {}), tmp_path)


@pytest.mark.parametrize("peepholes", [False, True])
def test_an_lstm_is_right_with_peepholes_too(peepholes: bool, tmp_path: Path) -> None:
    constants = {"w": floats(1, 12, 6), "r": floats(1, 12, 3), "p": floats(1, 9)}
    operands = ["x", "w", "r", "", "", "", "", *(["p"] if peepholes else [])]
    steps = helper.make_node("Reshape", ["x", "steps"], ["t"])
    constants["steps"] = np.array([12, 1, 6], np.int64)
    node = helper.make_node("LSTM", ["t", *operands[1:]], ["y"], hidden_size=3)
    proto = model([steps, node], {"x": PLANE}, opset=14, constants=constants)
    assert float_gap_db(proto, tmp_path) > 60


def test_random_numbers_are_not_compared(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(onnx_node("RandomUniformLike", {}), path)
    assert "otherwise" not in str(qhal.check(path, target="openvino-cpu").decisions)


def test_equal_nodes_are_tried_once_and_then_forgotten(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("CumSum", [before, "axis"], [after], name=after)
        for before, after in (("x", "a"), ("a", "b"), ("b", "y"))
    ]
    proto = model(nodes, {"x": (1, 5, 7)}, constants={"axis": np.array(1)})
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    graph = import_model(tmp_path / "m.onnx", {}).graph
    views = [NodeView(graph, node) for node in graph.nodes if isinstance(node.op, ops.Opaque)]
    assert len({_digest(_alone(view)) for view in views}) == 1 < len(views)
    other = model(
        [helper.make_node("CumSum", ["x", "axis"], ["y"], reverse=1)],
        {"x": (1, 5, 7)},
        constants={"axis": np.array(1)},
    )
    (tmp_path / "o.onnx").write_bytes(other.SerializeToString())
    changed = import_model(tmp_path / "o.onnx", {}).graph
    [node] = [node for node in changed.nodes if isinstance(node.op, ops.Opaque)]
    alone = _alone(NodeView(changed, node))
    assert _digest(alone) != _digest(_alone(views[0]))
    question, kept = _Question(_digest(alone), ref(alone)), ref(alone)
    assert _verdict(question) is None
    del alone
    gc.collect()
    assert kept() is None
