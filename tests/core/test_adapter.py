"""The user's arrays become the artifact's, and back."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.adapter import Adapter, run_raw
from qhal.errors import VerificationError


def test_float_io_passes_through(toys) -> None:
    x = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32)
    adapter = Adapter(toys.model)
    assert np.array_equal(adapter.to_artifact({"x": x})["x"], x)
    assert adapter.to_user({"y": x})["y"] is x


def test_integer_io_is_quantized_and_dequantized(toys) -> None:
    adapter = Adapter(toys.integer_model)
    x = np.array([[0, 1 / 64, -1, 100]], np.float32)
    assert adapter.to_artifact({"x": x})["x"].tolist() == [[0, 1, -64, 127]]
    assert adapter.to_user({"y": np.array([[-3, 5]], np.int8)})["y"].tolist() == [[0, 1]]


def test_permutations_are_applied(toys) -> None:
    x = np.zeros((4, 1), np.float32)
    assert Adapter(toys.transposed()).to_artifact({"x": x})["x"].shape == (1, 4)


def test_a_wrong_output_shape_is_an_error(toys) -> None:
    subject = toys.subject(toys.model, spoil=lambda array: array[:, :2])
    runner = subject.load()
    with pytest.raises(VerificationError, match=r"shape \(1, 2\), not \(1, 3\)"):
        run_raw(runner, subject, {"x": np.zeros((1, 4), np.float32)})


def test_an_exception_of_the_runtime_is_an_error(toys) -> None:
    def fail(array):
        raise RuntimeError("boom")

    subject = toys.subject(toys.model, spoil=fail)
    with pytest.raises(VerificationError, match="does not run: boom"):
        run_raw(subject.load(), subject, {"x": np.zeros((1, 4), np.float32)})


def test_no_runtime_means_no_runner(toys) -> None:
    assert toys.subject(toys.model, missing="pip install toy").load() is None
