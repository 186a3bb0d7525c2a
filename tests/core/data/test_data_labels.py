"""Labels are one whole number per sample, or an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qhal.data import Dataset, load_dataset
from qhal.errors import LabelError
from qhal.ir.graph import Array, TensorType

ONE = {"a": TensorType((1, 2))}
VALUES = np.zeros((3, 2), np.float32)


def _folder(folder: Path, labels: str | bytes) -> Path:
    for i in range(2):
        np.save(folder / f"{i}.npy", VALUES[0])
    content = labels.encode() if isinstance(labels, str) else labels
    (folder / "labels.csv").write_bytes(content)
    return folder


def _labels(data: Dataset) -> list[int]:
    assert data.labels is not None
    assert data.labels.dtype == np.int64
    return [int(label) for label in data.labels]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no column file"),
        ("0.npy,1\n1.npy,2\n", "no column file and no column class_index"),
        ("file,class_index\n0.npy,1\n", "no row for 1.npy"),
        ("file,class_index\n0.npy,1\n1.npy,x\n", "line 3: 'x' is not a class index"),
        ("file,class_index\n0.npy,1\n1.npy\n", "line 3"),
        ("file,class_index\n0.npy,1\n1.npy,-1\n", "'-1'"),
        ("file,class_index\n0.npy,1\n1.npy,1.5\n", "'1.5'"),
        ("file,class_index\n0.npy,1\n1.npy,99999999999999999999\n", "not a class index"),
        ("file,class_index\n0.npy,1\n1.npy,2\n2.npy,2\n", "not in the folder: 2.npy"),
        ("file,class_index\n0.npy,1\n1.npy,2\n1.npy,3\n", "two labels"),
        (b"file,class_index\n\xff\xfe,1\n", "cannot be read"),
    ],
)
def test_malformed_csv(tmp_path: Path, text: str | bytes, complaint: str) -> None:
    with pytest.raises(LabelError, match=complaint):
        load_dataset(_folder(tmp_path, text), ONE)


def test_csv_with_byte_order_mark_and_more_columns(tmp_path: Path) -> None:
    text = "\ufefffile,name,class_index\n1.npy,b,5\n0.npy,a,4\n"
    assert _labels(load_dataset(_folder(tmp_path, text), ONE)) == [4, 5]


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (np.zeros(3, np.float32), "type float32"),
        (np.eye(3, dtype=np.int64), "shape \\(3, 3\\)"),
        (np.array([0, -1, 2]), "-1"),
    ],
)
def test_malformed_arrays(labels: np.ndarray, complaint: str) -> None:
    with pytest.raises(LabelError, match=complaint):
        load_dataset({"a": VALUES, "labels": labels}, ONE)


def test_a_number_of_labels_that_does_not_fit(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", a=VALUES, y=np.arange(2))
    with pytest.raises(LabelError, match=r"2 labels .* for 3 samples"):
        load_dataset(tmp_path / "d.npz", ONE)


def test_the_offset_is_added_and_must_not_make_labels_negative() -> None:
    arrays: dict[str, Array] = {"a": VALUES, "y": np.array([[0], [1], [2]], np.uint8)}
    assert _labels(load_dataset(arrays, ONE, label_offset=1)) == [1, 2, 3]
    with pytest.raises(LabelError, match="negative"):
        load_dataset(arrays, ONE, label_offset=-1)


def test_an_offset_without_labels_is_an_error() -> None:
    with pytest.raises(LabelError, match="has no labels"):
        load_dataset({"a": VALUES}, ONE, label_offset=1)


def test_labels_may_be_named_or_come_from_a_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", a=VALUES, classes=np.array([3, 2, 1]))
    assert _labels(load_dataset(tmp_path / "d.npz", ONE, labels="classes")) == [3, 2, 1]
    np.save(tmp_path / "l.npy", np.array([1, 1, 0]))
    path = str(tmp_path / "l.npy")
    assert _labels(load_dataset(tmp_path / "d.npz", ONE, labels=path)) == [1, 1, 0]
    with pytest.raises(LabelError, match="no labels 'nothing'"):
        load_dataset(tmp_path / "d.npz", ONE, labels="nothing")
