"""The user's arrays become the artifact's, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qhal.artifact.ports import Adapter, Port
from qhal.artifact.runnable import run_raw
from qhal.errors import VerificationError
from qhal.ir.graph import Array
from qhal.results.record import RunRecord
from tests.core.conftest import Toys


def test_float_io_passes_through(toys: Toys) -> None:
    x = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32)
    adapter = Adapter.of_model(toys.model)
    assert np.array_equal(adapter.to_artifact({"x": x})["x"], x)
    assert adapter.to_user({"y": x})["y"] is x


def test_integer_io_is_quantized_and_dequantized(toys: Toys) -> None:
    adapter = Adapter.of_model(toys.integer_model)
    x = np.array([[0, 1 / 64, -1, 100]], np.float32)
    assert adapter.to_artifact({"x": x})["x"].tolist() == [[0, 1, -64, 127]]
    assert adapter.to_user({"y": np.array([[-3, 5]], np.int8)})["y"].tolist() == [[0, 1]]


def test_permutations_are_applied(toys: Toys) -> None:
    x = np.zeros((4, 1), np.float32)
    assert Adapter.of_model(toys.transposed()).to_artifact({"x": x})["x"].shape == (1, 4)


def test_a_record_states_the_same_conversion(toys: Toys, record: RunRecord) -> None:
    stated = Adapter(record.model.inputs, record.model.outputs)
    lowered = Adapter.of_model(toys.transposed())
    x = np.array([[0], [1 / 64], [-1], [100]], np.float32)
    assert stated.to_artifact({"x": x})["x"].tolist() == [[0, 1, -64, 127]]
    assert lowered.to_artifact({"x": x})["x"].tolist() == [[0, 1, -64, 127]]
    y = {"y": np.array([[-3, 5, 0]], np.int8)}
    assert stated.to_user(y)["y"].tolist() == lowered.to_user(y)["y"].tolist()


def test_a_model_states_the_users_side_too(toys: Toys) -> None:
    (port,) = Adapter.of_model(toys.transposed()).inputs
    assert (port.shape, port.dtype) == ((4, 1), "float32")
    assert (port.artifact_shape, port.artifact_dtype, port.permutation) == ((1, 4), "int8", (1, 0))


PORT = Port("x", (4, 1), "float32", "x", (1, 4), "int8", (1, 0), 0.5, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "float31"},
        {"artifact_dtype": ""},
        {"permutation": ()},
        {"permutation": (0, 0)},
        {"permutation": (1, 2)},
        {"artifact_shape": (1, 4, 1)},
    ],
)
def test_a_port_that_nobody_could_convert_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"shape|DType"):
        replace(PORT, **changes)


def test_a_wrong_output_shape_is_an_error(toys: Toys) -> None:
    subject = toys.subject(toys.model, spoil=lambda array: array[:, :2])
    runner = subject.load()
    assert runner is not None
    with pytest.raises(VerificationError, match=r"shape \(1, 2\), not \(1, 3\)"):
        run_raw(runner, subject, {"x": np.zeros((1, 4), np.float32)})


def test_an_exception_of_the_runtime_is_an_error(toys: Toys) -> None:
    def fail(array: Array) -> Array:
        raise RuntimeError("boom")

    subject = toys.subject(toys.model, spoil=fail)
    runner = subject.load()
    assert runner is not None
    with pytest.raises(VerificationError, match=r"cannot run model\.toy: boom"):
        run_raw(runner, subject, {"x": np.zeros((1, 4), np.float32)})


def test_no_runtime_means_no_runner(toys: Toys) -> None:
    assert toys.subject(toys.model, missing="pip install toy").load() is None
