"""Functions as a source: arrays, sequences and generators."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from qhal.data import load_dataset
from qhal.errors import DataFileError, DataShapeError, LabelError
from qhal.ir.graph import TensorType

ONE = {"a": TensorType((1, 2))}
TWO = {"a": TensorType((1, 2)), "b": TensorType((1, 3))}
VALUES = np.arange(8, dtype=np.float32).reshape(4, 2)


def test_a_generator_is_kept_out_of_memory_and_read_in_any_order() -> None:
    def samples() -> Iterator[np.ndarray]:
        yield from VALUES

    data = load_dataset(samples, ONE)
    assert len(data) == 4
    for i in (3, 0, 2):
        np.testing.assert_array_equal(data.sample(i)["a"], VALUES[i : i + 1])
    assert data.fingerprint == load_dataset(samples, ONE).fingerprint


def test_samples_may_be_mappings_with_labels() -> None:
    def samples() -> Iterator[dict[str, object]]:
        for i, row in enumerate(VALUES):
            yield {"b": [i, i, i + 0.5], "a": row, "label": i}

    data = load_dataset(samples, TWO)
    assert data.sample(2)["b"].tolist() == [[2, 2, 2.5]]
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 2, 3]


def test_a_sequence_is_fetched_item_by_item() -> None:
    class Images:
        def __init__(self) -> None:
            self.fetched: list[int] = []

        def __len__(self) -> int:
            return 1000

        def __getitem__(self, index: int) -> np.ndarray:
            self.fetched.append(index)
            found: np.ndarray = VALUES[index % 4]
            return found

    images = Images()
    data = load_dataset(lambda: images, ONE)
    data.sample(777)
    assert len(data) == 1000
    assert set(images.fetched) == {0, 777}


def test_pairs_are_samples_with_labels() -> None:
    data = load_dataset(lambda: [(row, i) for i, row in enumerate(VALUES)], ONE)
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 2, 3]


def test_arrays_and_mappings_count_samples_along_the_first_axis() -> None:
    assert len(load_dataset(lambda: VALUES, ONE)) == 4
    assert load_dataset(lambda: {"x": VALUES, "y": np.arange(4)}, ONE).labels is not None


def test_images_may_differ_in_size() -> None:
    inputs = {"x": TensorType((1, 3, 8, 8))}
    rng = np.random.default_rng(3)

    def samples() -> Iterator[np.ndarray]:
        for side in (8, 11, 30):
            yield rng.integers(0, 256, (side, side, 3), dtype=np.uint8)

    assert load_dataset(samples, inputs, preprocess="unit").sample(2)["x"].shape == (1, 3, 8, 8)


def test_a_reference_is_found_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_samples.py").write_text(
        "import numpy as np\ndef make():\n    return np.ones((3, 2), 'f4')\n"
    )
    monkeypatch.chdir(tmp_path)
    assert len(load_dataset("my_samples:make", ONE)) == 3
    with pytest.raises(DataFileError, match="my_samples:other fails: AttributeError"):
        load_dataset("my_samples:other", ONE)
    with pytest.raises(DataFileError, match="ModuleNotFoundError"):
        load_dataset("no_such_module:make", ONE)
    with pytest.raises(DataFileError, match="is not a function"):
        load_dataset("math:pi", ONE)


def _failing() -> Iterator[np.ndarray]:
    yield VALUES[0]
    raise RuntimeError("disk on fire")


def _mixed() -> Iterator[dict[str, np.ndarray]]:
    yield {"a": VALUES[0]}
    yield {"b": VALUES[0]}


@pytest.mark.parametrize(
    ("function", "error", "complaint"),
    [
        (_failing, DataFileError, "RuntimeError: disk on fire"),
        (_mixed, DataShapeError, "has arrays 'b', not 'a'"),
        (lambda: iter(()), DataFileError, "makes no samples"),
        (list, DataFileError, "makes no samples"),
        (lambda: 3, DataShapeError, "returns int"),
        (lambda: "text", DataShapeError, "returns str"),
        (lambda: [object()], DataShapeError, "of type object"),
        (lambda: [[1, [2, 3]]], DataShapeError, "not an array"),
        (lambda: [(VALUES[0], "cat")], LabelError, "'cat' as a label"),
        (lambda: iter([(VALUES[0], 1), VALUES[0]]), LabelError, "labels for 1 of 2"),
        (lambda: [VALUES[0] * np.nan], Exception, "NaN"),
    ],
)
def test_functions_that_fail(function: object, error: type[Exception], complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        load_dataset(function, ONE)  # type: ignore[arg-type]
