"""Forms at the edges of what their nodes take, and what no form may do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

from qhal.errors import ModelInvalidError
from qhal.ir.graph import Array, Graph
from qhal.ir.importer import import_model
from tests.core.ir.importing import run as run_onnx
from tests.core.ir_graphs import run
from tests.core.legal.test_opaque_forms import others
from tests.operators.running import close

Values = Mapping[str, npt.ArrayLike]


def node_model(
    kind: str,
    feeds: Values,
    constants: Values,
    order: str,
    *,
    opset: int = 17,
    outputs: int = 1,
    **attributes: Any,
) -> onnx.ModelProto:
    """One node; ``order`` names its operands, "-" leaves one out."""
    names = ["" if name == "-" else name for name in order.split()]
    made = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(kind, names, made, "node", **attributes)
    given = {name: np.asarray(value) for name, value in feeds.items()}
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for n, v in given.items()
    ]
    held = [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    ends = [onnx.ValueInfoProto(name=name) for name in made]
    graph = helper.make_graph([node], "edge", inputs, ends, held)
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def imported(model: onnx.ModelProto, path: Path) -> Graph:
    onnx.save(model, path / "model.onnx")
    return import_model(path / "model.onnx").graph


def check_forms(model: onnx.ModelProto, feeds: Values, path: Path) -> int:
    """Compare every form with ONNX Runtime; return how many there are."""
    given: dict[str, Array] = {name: np.asarray(value) for name, value in feeds.items()}
    wanted = run_onnx(model.SerializeToString(), given)
    graph = imported(model, path)
    forms = others(graph)
    for form in forms:
        found = run(form, given)
        for name, value in zip(graph.outputs, wanted, strict=True):
            assert close(value, np.asarray(found[name]), 2e-5), (name, value, found[name])
    return len(forms)


def floats(*shape: int) -> Array:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("pads", [(0, -2, 0, 3), (0, 3, 0, -2), (0, -1, 0, -2), (1, -3, -1, 7)])
def test_wrapping_pads_that_are_negative_cut_first(pads: tuple[int, ...], tmp_path: Path) -> None:
    feeds = {"x": floats(2, 5)}
    model = node_model("Pad", feeds, {"p": np.array(pads)}, "x p", opset=19, mode="wrap")
    assert check_forms(model, feeds, tmp_path) == 1


def test_wrapping_around_very_often_has_no_form(tmp_path: Path) -> None:
    model = node_model("Pad", {"x": floats(1)}, {"p": [0, 10**8]}, "x p", opset=19, mode="wrap")
    assert others(imported(model, tmp_path)) == []


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
@pytest.mark.parametrize("constant", [True, False], ids=["constant state", "state as input"])
def test_a_sequence_of_length_0_ends_in_zeros(
    kind: str, gates: int, direction: str, constant: bool, tmp_path: Path
) -> None:
    states = {"h": floats(1, 3, 6), **({"c": floats(1, 3, 6)} if kind == "LSTM" else {})}
    feeds = {"x": floats(4, 3, 5), **({} if constant else states)}
    held = {"w": floats(1, gates * 6, 5), "r": floats(1, gates * 6, 6)}
    lengths = {"l": np.array([3, 0, 1], np.int32), **(states if constant else {})}
    model = node_model(
        kind,
        feeds,
        {**held, **lengths},
        "x w r - l h" + (" c" if kind == "LSTM" else ""),
        outputs=3 if kind == "LSTM" else 2,
        hidden_size=6,
        direction=direction,
    )
    assert check_forms(model, feeds, tmp_path) == 1


SMALLEST = [[-(2**31), 3, -(2**31), 5], [2**31 - 1, 0, 2**31 - 1, 7]]


@pytest.mark.parametrize("last", [0, 1], ids=["first", "last"])
def test_the_smallest_integer_has_no_negative(last: int, tmp_path: Path) -> None:
    feeds = {"x": np.array(SMALLEST, np.int32)}
    model = node_model("ArgMin", feeds, {}, "x", axis=1, select_last_index=last)
    wanted = run_onnx(model.SerializeToString(), feeds)
    graph = imported(model, tmp_path)
    for form in others(graph) if last else [graph]:
        assert run(form, feeds)["y0"].tolist() == wanted[0].tolist() == [[2 * last], [1]]


@pytest.mark.parametrize("last", [0, 1], ids=["first", "last"])
def test_unsigned_integers_have_no_negatives(last: int, tmp_path: Path) -> None:
    feeds = {"x": np.array([[0, 3, 0, 5]], np.uint8)}
    model = node_model("ArgMin", feeds, {}, "x", axis=1, select_last_index=last)
    assert others(imported(model, tmp_path)) == []


@pytest.mark.parametrize(("kind", "low"), [("Asinh", -1e38), ("Acosh", 1.0)])
def test_inverse_hyperbolic_functions_of_large_numbers_are_finite(
    kind: str, low: float, tmp_path: Path
) -> None:
    feeds = {"x": np.array([low, 1.0, 1.5, 20, 1e10, 1e20, 1e38], np.float32)}
    assert check_forms(node_model(kind, feeds, {}, "x"), feeds, tmp_path) == 1


@pytest.mark.parametrize("p", [1, 2, 3, 4, 5])
def test_powers_leave_no_operator_that_nothing_reads(p: int, tmp_path: Path) -> None:
    model = node_model("GlobalLpPool", {"x": floats(1, 2, 3, 3)}, {}, "x", opset=13, p=p)
    (form,) = others(imported(model, tmp_path))
    made = [name for node in form.nodes for name in node.outputs]
    assert [name for name in made if not form.consumers[name]] == list(form.outputs)


def test_windows_in_the_padding_that_ceil_mode_adds_do_not_count(tmp_path: Path) -> None:
    feeds = {"x": floats(1, 2, 9, 8)}
    window: dict[str, Any] = {"kernel_shape": [2, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    model = node_model(
        "AveragePool", feeds, {}, "x", opset=19, dilations=[1, 2], ceil_mode=1, **window
    )
    assert check_forms(model, feeds, tmp_path) == 1
    assert imported(model, tmp_path).tensors["y0"].shape == (1, 2, 5, 4)


def test_a_window_without_elements_has_no_average(tmp_path: Path) -> None:
    window: dict[str, Any] = {"kernel_shape": [2], "strides": [1], "pads": [1, 1], "dilations": [2]}
    model = node_model("AveragePool", {"x": floats(1, 1, 1)}, {}, "x", opset=19, **window)
    with np.errstate(all="raise"):
        assert others(imported(model, tmp_path)) == []


@pytest.mark.parametrize("onesided", [{}, {"onesided": 1}, {"onesided": 0}])
def test_a_spectrum_has_one_side_unless_it_says_otherwise(
    onesided: dict[str, int], tmp_path: Path
) -> None:
    feeds = {"x": floats(1, 64, 1)}
    constants = {"step": np.array(8), "window": np.hanning(16).astype(np.float32)}
    model = node_model("STFT", feeds, constants, "x step window", **onesided)
    assert check_forms(model, feeds, tmp_path) == 1


@pytest.mark.parametrize("scales", [(1, 1, 0.5, 2), (1, 1, 0.6, 1.5), (1, 1, 2.5, 0.7)])
def test_an_old_resize_may_grow_and_shrink(scales: tuple[float, ...], tmp_path: Path) -> None:
    feeds = {"x": floats(1, 2, 8, 6)}
    constants = {"s": np.array(scales, np.float32)}
    model = node_model("Resize", feeds, constants, "x s", opset=10, mode="nearest")
    (wanted,) = run_onnx(model.SerializeToString(), feeds)
    np.testing.assert_array_equal(run(imported(model, tmp_path), feeds)["y0"], wanted)


OUTSIDE = {
    "GatherElements": ({"x": floats(4, 3)}, {"i": [[0, 1, 4]]}, "x i", {}),
    "ScatterElements": (
        {"x": floats(4, 3), "u": floats(1, 3)},
        {"i": [[0, -5, 1]]},
        "x i u",
        {},
    ),
    "GatherND": ({"x": floats(2, 4, 3)}, {"i": [[[1], [4]], [[0], [0]]]}, "x i", {"batch_dims": 1}),
    "ScatterND": (
        {"x": floats(4, 3), "u": floats(1, 3)},
        {"i": [[4]]},
        "x i u",
        {"reduction": "add"},
    ),
    "CumSum": ({"x": floats(3, 5)}, {"a": np.array(7)}, "x a", {}),
    "ReverseSequence": ({"x": floats(4, 3)}, {"l": [9, 1, 1]}, "x l", {}),
}


@pytest.mark.parametrize("kind", OUTSIDE)
def test_constants_out_of_range_are_refused(kind: str, tmp_path: Path) -> None:
    feeds, constants, order, attributes = OUTSIDE[kind]
    model = node_model(kind, feeds, constants, order, **attributes)  # type: ignore[arg-type]
    with pytest.raises(ModelInvalidError, match=r"'node' .* (out of range|do not fit)"):
        imported(model, tmp_path)


def test_a_grid_without_bounds_is_refused_before_it_is_made(tmp_path: Path) -> None:
    constants = {"s": np.array([1, 1, 30000, 30000])}
    model = node_model("AffineGrid", {"t": floats(1, 2, 3)}, constants, "t s", opset=20)
    with pytest.raises(ModelInvalidError, match=r"'node' .* computes the constant"):
        imported(model, tmp_path)


def test_numbers_without_bounds_are_not_made(tmp_path: Path) -> None:
    constants = {"d": np.array(2**30), "v": np.array([0, 1], np.float32)}
    model = node_model("OneHot", {"i": np.array([3])}, constants, "i d v")
    assert others(imported(model, tmp_path)) == []
