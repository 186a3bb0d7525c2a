"""Names, types and values of the data are checked before a model sees them."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.data import load_dataset
from qhal.errors import DataShapeError, DataValueError
from qhal.ir.dtypes import DType
from qhal.ir.graph import TensorType

TWO = {"a": TensorType((1, 2)), "b": TensorType((1, 2))}
ONE = {"a": TensorType((1, 2))}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_name_the_sample_and_the_input(value: float) -> None:
    values = np.zeros((4, 2), np.float32)
    values[2, 1] = value
    data = load_dataset({"a": values}, ONE)
    data.sample(1)
    with pytest.raises(DataValueError, match=r"sample 2 of .*'a' hold NaN or Inf"):
        data.sample(2)


def test_a_double_that_float32_cannot_hold_is_refused() -> None:
    with pytest.raises(DataValueError):
        load_dataset({"a": np.full((1, 2), 1e300)}, ONE)


def test_a_missing_name_lists_both_sides() -> None:
    with pytest.raises(DataShapeError, match=r"no array for input 'b'.*'a', 'c'") as caught:
        load_dataset({"a": np.zeros((1, 2), "f4"), "c": np.zeros((1, 2), "f4")}, TWO)
    assert "float32[1x2]" in caught.value.hint


def test_two_arrays_for_one_input_need_its_name() -> None:
    with pytest.raises(DataShapeError, match="no array for input 'a'"):
        load_dataset({"x": np.zeros((1, 2), "f4"), "z": np.zeros((1, 2), "f4")}, ONE)


def test_further_arrays_are_no_harm_when_all_names_are_there() -> None:
    data = load_dataset({"a": np.ones((1, 2), "f4"), "note": np.zeros((1, 9))}, ONE)
    assert data.sample(0).keys() == {"a"}


def test_pixels_for_a_float_input_need_a_word_on_scaling() -> None:
    with pytest.raises(DataShapeError, match="takes float32, but the data are uint8") as caught:
        load_dataset({"a": np.zeros((1, 2), np.uint8)}, ONE)
    assert "--preprocess" in caught.value.hint


def test_fractions_for_an_integer_input_are_refused() -> None:
    with pytest.raises(DataShapeError, match="takes int64, but the data are float32"):
        load_dataset({"a": np.zeros((1, 2), "f4")}, {"a": TensorType((1, 2), DType.INT64)})


def test_integers_are_widened_but_never_wrapped() -> None:
    wide = {"a": TensorType((1, 2), DType.INT64)}
    assert load_dataset({"a": np.ones((1, 2), np.int16)}, wide).sample(0)["a"].dtype == np.int64
    narrow = {"a": TensorType((1, 2), DType.INT8)}
    with pytest.raises(DataValueError, match="from 5 to 300, which int8 cannot hold"):
        load_dataset({"a": np.array([[5, 300]])}, narrow)


def test_the_label_array_may_be_an_input() -> None:
    inputs = {"x": TensorType((1, 1)), "y": TensorType((1, 1))}
    data = load_dataset(
        {"x": np.zeros((2, 1)), "y": np.ones((2, 1)), "labels": np.array([0, 1])}, inputs
    )
    assert data.sample(0)["y"].tolist() == [[1.0]]
    assert data.labels is not None


def test_the_fingerprint_follows_content_order_and_types() -> None:
    values = np.arange(8, dtype=np.float32).reshape(4, 2)
    data = load_dataset({"a": values}, ONE)
    same = load_dataset({"a": values.copy()}, ONE)
    assert data.fingerprint == same.fingerprint
    assert data.select([0, 1]).fingerprint == load_dataset({"a": values[:2]}, ONE).fingerprint
    others = {
        data.select([1, 0]).fingerprint,
        data.select([0, 1]).fingerprint,
        load_dataset({"a": values + 1}, ONE).fingerprint,
        load_dataset({"a": values}, ONE, preprocess="unit").fingerprint,
        load_dataset({"a": values}, {"a": TensorType((1, 2), DType.FLOAT64)}).fingerprint,
    }
    assert len(others | {data.fingerprint}) == 6


def test_selections_compose() -> None:
    values = np.arange(10, dtype=np.float32).reshape(5, 2)
    data = load_dataset({"a": values, "y": np.arange(5)}, ONE).select([4, 2, 0]).select([1])
    assert data.labels is not None
    assert data.labels.tolist() == [2]
    np.testing.assert_array_equal(data.sample(0)["a"], values[2:3])


def test_the_description_is_plain_json() -> None:
    data = load_dataset({"a": np.zeros((3, 2), np.uint8)}, ONE, preprocess="unit")
    description = data.describe()
    assert (description["samples"], description["labels"]) == (3, False)
    assert isinstance(description["preprocess"], dict)
    assert description["preprocess"]["name"] == "unit"


@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.INT64, DType.BOOL])
def test_a_number_has_no_dimensions(dtype: DType) -> None:
    values = np.ones(3, dtype.numpy)
    data = load_dataset({"a": values}, {"a": TensorType((), dtype)})
    assert len(data) == 3
    assert data.sample(1)["a"].shape == ()
    assert data.sample(1)["a"].dtype == dtype.numpy
