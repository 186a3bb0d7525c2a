"""The rewritten float graph against the user's file: no error of a rewrite is the plan's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import qhal
from qhal.errors import VerificationError
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.export import to_onnx
from qhal.ir.graph import Array, Graph, TensorType
from qhal.ir.layout.laid_out import LaidOut, to_layout
from qhal.ir.ops import Layout
from qhal.legal.forms.opaque.table import OPAQUE_FORMS
from qhal.legal.indices import narrow_indices
from qhal.verify import FloatReference, check_rewritten
from qhal.verify.rewritten import _why_other
from tests.core.ir.importing import model


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def picture() -> Graph:
    """A convolution, a pooling, and the place and value of the largest channel."""
    builder = GraphBuilder("net")
    x = builder.input("x", TensorType((1, 3, 6, 5)))
    weight = builder.constant("w", rng().normal(size=(4, 3, 3, 3)).astype(np.float32))
    conv = builder.one(ops.Conv((1, 1), (1, 1, 1, 1), (1, 1)), (x, weight), output="conv")
    pool = builder.one(ops.MaxPool((2, 2), (2, 2), (0, 0, 0, 0)), (conv,), output="pool")
    best = builder.one(ops.ArgMax(1), (pool,), output="best")
    return builder.build(outputs=(pool, best))


def reference(graph: Graph) -> FloatReference:
    return FloatReference(to_onnx(graph).SerializeToString(), graph.outputs)


def laid_out(graph: Graph) -> LaidOut:
    laid = to_layout(graph, Layout.NHWC)
    return replace(laid, graph=narrow_indices(laid.graph, DType.INT32).graph)


def samples(count: int = 2) -> list[dict[str, Array]]:
    return [{"x": rng().normal(size=(1, 3, 6, 5)).astype(np.float32)} for _ in range(count)]


def test_another_layout_and_type_of_indices_are_no_difference() -> None:
    graph = picture()
    found = check_rewritten(laid_out(graph), graph, reference(graph), samples())
    assert 0 < found["rewrite_error"].value < 1e-5


def test_the_first_tensor_that_differs_is_named() -> None:
    graph, laid = picture(), laid_out(picture())
    wrong = {name: np.negative(value) for name, value in laid.graph.constants.items()}
    broken = replace(laid, graph=replace(laid.graph, constants=wrong))
    with pytest.raises(
        VerificationError, match=r"output pool .* differs is conv of Conv"
    ) as caught:
        check_rewritten(broken, graph, reference(graph), samples())
    assert "please report it with the model" in str(caught.value.hint)


def test_an_output_of_another_shape_is_refused() -> None:
    graph, laid = picture(), laid_out(picture())
    nodes = [
        replace(node, op=replace(node.op, axis=1)) if isinstance(node.op, ops.ArgMax) else node
        for node in laid.graph.nodes
    ]
    best = TensorType((1, 1, 2, 4), DType.INT32)
    tensors = {**laid.graph.tensors, "best": best}
    broken = replace(laid, graph=replace(laid.graph, nodes=tuple(nodes), tensors=tensors))
    with pytest.raises(VerificationError, match="output best has shape"):
        check_rewritten(broken, graph, reference(graph), samples())


def test_integers_of_integers_have_to_be_equal_and_others_nearly() -> None:
    wanted = np.arange(5000)
    near, far = wanted.copy(), wanted.copy()
    near[:3], far[:50] = 7000, 7000
    assert not _why_other(wanted, near, exact=False)
    assert "differs in 3 of 5000 elements (7000 instead of 0)" in _why_other(wanted, near, True)
    assert "differs in 50" in _why_other(wanted, far, exact=False)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_no_rounding(value: float) -> None:
    wanted = np.ones(4, np.float32)
    assert "NaN or Inf" in _why_other(wanted, np.full(4, value, np.float32), exact=False)


def test_a_form_that_is_wrong_refuses_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [helper.make_node("CumSum", ["x", "axis"], ["y"], name="sums", reverse=1)]
    onnx.save(
        model(nodes, {"x": (2, 6)}, ["y"], constants={"axis": np.array(1)}), tmp_path / "m.onnx"
    )
    data = {"x": rng().normal(size=(8, 2, 6)).astype(np.float32)}
    asked = {"target": "tflite", "data": data, "cache": False}
    qhal.deploy(tmp_path / "m.onnx", out=tmp_path / "good", **asked)  # type: ignore[arg-type]
    monkeypatch.setitem(OPAQUE_FORMS, "CumSum", OPAQUE_FORMS["Sinh"])
    with pytest.raises(
        VerificationError, match=r"output y .* first tensor that differs is y of CumSum"
    ):
        qhal.deploy(tmp_path / "m.onnx", out=tmp_path / "bad", **asked)  # type: ignore[arg-type]
    assert not (tmp_path / "bad").exists()


def test_sums_that_int32_cannot_hold_refuse_the_model(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "offset"], ["sum"], name="far")]
    offset = {"offset": np.array([2_000_000_000])}
    found = model(nodes, {"x": np.zeros(4, np.int64)}, ["sum"], constants=offset)
    onnx.save(found, tmp_path / "m.onnx")
    data = {"x": np.full((4, 4), 1_000_000_000)}
    with pytest.raises(VerificationError, match="differs is sum of Add far"):
        qhal.deploy(
            tmp_path / "m.onnx", target="cortex-m7", data=data, cache=False, out=tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()
