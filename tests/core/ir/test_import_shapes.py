"""Free dimensions: bound by the user, by the batch rule, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from qhal.decisions import Code
from qhal.errors import ModelInvalidError, ModelShapeError, ModelWeightsError
from qhal.ir.dtypes import DType
from tests.core.ir.importing import floats, model, read


def relu(*shape: int | str | None, **options: Any) -> onnx.ModelProto:
    """A model with one input ``x``."""
    return model([helper.make_node("Relu", ["x"], ["y"])], {"x": shape}, **options)


def test_free_batch_is_one_and_says_so(tmp_path: Path) -> None:
    result = read(tmp_path, relu("N", 3))
    assert result.graph.tensors["y"].shape == (1, 3)
    (decision,) = result.decisions
    assert (decision.code, decision.subject) == (Code.BATCH_BOUND, "x")
    assert decision.sentence == "The free leading dimension of input 'x' (Nx3) was set to 1."


@pytest.mark.parametrize("free", [None, "", 0, -1])
def test_dimensions_without_a_name_are_free(tmp_path: Path, free: int | str | None) -> None:
    assert read(tmp_path, relu(free, 3)).graph.tensors["x"].shape == (1, 3)


def test_shape_binds(tmp_path: Path) -> None:
    result = read(tmp_path, relu("N", 3, "H", "W"), {"x": (2, 3, 8, 9)})
    assert result.graph.tensors["y"].shape == (2, 3, 8, 9)
    (decision,) = result.decisions
    assert decision.code is Code.SHAPE_BOUND
    assert "2,3,8,9" in decision.sentence


def test_shape_that_says_what_the_model_says_is_no_decision(tmp_path: Path) -> None:
    assert read(tmp_path, relu(1, 3), {"x": (1, 3)}).decisions == ()


def test_free_dimensions_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelShapeError, match=r"'x' \(Nx3xHxW\).*axis 2 \(H\), axis 3 \(W\)") as e:
        read(tmp_path, relu("N", 3, "H", "W"))
    assert "--shape x=1,3,H,W" in e.value.hint


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"z": (1, 3)}, "no input 'z'"),
        ({"x": (1, 3, 4)}, "does not fit"),
        ({"x": (1, 4)}, "Axis 1 of input 'x' .* is 3, not 4"),
        ({"x": (0, 3)}, "positive"),
    ],
)
def test_shapes_that_do_not_fit(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], message: str
) -> None:
    with pytest.raises(ModelShapeError, match=message):
        read(tmp_path, relu("N", 3), shapes)


def test_a_name_is_bound_for_all_inputs(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["a", "b"], ["y"])
    proto = model([node], {"a": ("N", "T", 3), "b": (1, "T", 3)})
    graph = read(tmp_path, proto, {"a": (2, 5, 3)}).graph
    assert graph.tensors["b"].shape == (1, 5, 3)


def test_a_name_has_one_size(tmp_path: Path) -> None:
    proto = model([helper.make_node("Add", ["a", "b"], ["y"])], {"a": ("N", 3), "b": ("N", 3)})
    with pytest.raises(ModelShapeError, match=r"Axis 0 of input 'b' .* is 2, not 4"):
        read(tmp_path, proto, {"a": (2, 3), "b": (4, 3)})


def test_input_without_a_shape(tmp_path: Path) -> None:
    proto = relu(1, 3)
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    del proto.graph.value_info[:]
    proto.graph.output[0].ClearField("type")
    with pytest.raises(ModelShapeError, match="'x' has no shape"):
        read(tmp_path, proto)
    assert read(tmp_path, proto, {"x": (2, 2)}).graph.tensors["y"].shape == (2, 2)


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16])
def test_other_float_types_become_float32(tmp_path: Path, dtype: int) -> None:
    node = helper.make_node("Add", ["x", "w"], ["y"])
    proto = model([node], {"x": (2, 3)}, dtype=dtype)
    proto.graph.initializer.append(helper.make_tensor("w", dtype, [3], [1.0, 2.0, 3.0]))
    result = read(tmp_path, proto)
    assert {t.dtype for t in result.graph.tensors.values()} == {DType.FLOAT32}
    assert [d.code for d in result.decisions] == [Code.FLOAT_CONVERTED]
    assert result.graph.constants["w"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("dtype", [TensorProto.STRING, TensorProto.COMPLEX64])
def test_inputs_that_are_no_numbers(tmp_path: Path, dtype: int) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    with pytest.raises(ModelInvalidError, match="'x' has the type"):
        read(tmp_path, model([node], {"x": (2,)}, dtype=dtype))


def test_sequences_are_refused(tmp_path: Path) -> None:
    proto = relu(1, 3)
    proto.graph.input[0].CopyFrom(
        helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, (1, 3))
    )
    with pytest.raises(ModelInvalidError, match="'x' is not a tensor"):
        read(tmp_path, proto)


def test_initializers_among_the_inputs_are_constants(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["x", "w"], ["y"])
    proto = model([node], {"x": (1, 3), "w": (3,)}, constants={"w": floats(3)})
    graph = read(tmp_path, proto).graph
    assert graph.inputs == ("x",)
    assert "w" in graph.constants


def test_inputs_that_nothing_reads_stay(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    assert read(tmp_path, model([node], {"x": (1,), "z": (2,)})).graph.inputs == ("x", "z")


def test_values_beyond_float32_become_its_largest(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["x", "w"], ["y"])
    proto = model([node], {"x": (3,)}, dtype=TensorProto.DOUBLE)
    values = [-1.7e308, 0.0, float("-inf")]
    proto.graph.initializer.append(helper.make_tensor("w", TensorProto.DOUBLE, [3], values))
    with pytest.raises(ModelWeightsError, match="'w' holds 1 NaN or Inf"):
        read(tmp_path, proto)
    proto.graph.initializer[0].double_data[2] = 2.0
    found = read(tmp_path, proto).graph.constants["w"]
    assert found.tolist() == [float(np.finfo(np.float32).min), 0, 2]
