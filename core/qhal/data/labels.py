"""Class labels: from ``labels.csv`` or an array."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qhal.errors import LabelError
from qhal.ir.graph import Array
from qhal.system.files import plain

CSV_NAME = "labels.csv"
_COLUMNS = ("file", "class_index")
_CLASS_INDEX = re.compile(r"[0-9]{1,9}")
_SHOWN = 3
LAST_CLASS = 10**9 - 1
"""No model has so many classes; what is larger is no class index."""

Labels = npt.NDArray[np.int64]


def read_labels_csv(path: Path) -> dict[str, int]:
    """Read a map from file name to class index.

    The first row names the columns; ``file`` and ``class_index`` are used, others are ignored.

    Raises:
        LabelError: a column is missing, a row is malformed, or a file is listed twice.
    """
    try:
        with plain(path).open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, strict=True)
            _check_columns(path, rows.fieldnames)
            return _collect(path, rows)
    except OSError as error:
        raise LabelError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"{path} cannot be read: {error}.") from error


def labels_of_files(files: Sequence[Path], path: Path) -> Labels:
    """Return the label of every file, in order.

    Raises:
        LabelError: a file has no label, or a label has no file.
    """
    listed = read_labels_csv(path)
    names = [file.name for file in files]
    missing = [name for name in names if name not in listed]
    if missing:
        raise LabelError(f"{path} has no row for {_some(missing)}.", "Label every sample.")
    unknown = sorted(listed.keys() - set(names))
    if unknown:
        raise LabelError(
            f"{path} names files that are not in the folder: {_some(unknown)}.",
            "Remove those rows or add the files.",
        )
    return np.array([listed[name] for name in names], np.int64)


def labels_of_array(values: Array, samples: int, name: str) -> Labels:
    """Check an array of labels: integers, not negative, one per sample.

    Raises:
        LabelError: it is something else.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise LabelError(
            f"The labels in {name} have shape {values.shape} and type {values.dtype}.",
            "Give one class index (an integer) per sample: numpy.argmax of one-hot labels.",
        )
    if len(values) != samples:
        raise LabelError(f"There are {len(values)} labels in {name} for {samples} samples.")
    if values.size and int(values.min()) < 0:
        raise LabelError(f"The labels in {name} hold {values.min()}; they start at 0.")
    if values.size and int(values.max()) > LAST_CLASS:
        raise LabelError(
            f"The labels in {name} hold {values.max()}, which is no class index.",
            f"They go from 0 to at most {LAST_CLASS}.",
        )
    return values.astype(np.int64)


def shifted(labels: Labels, offset: int) -> Labels:
    """Shift labels to the model's numbering.

    Raises:
        LabelError: one becomes negative.
    """
    if abs(offset) > LAST_CLASS:
        raise LabelError("--label-offset is larger than any class index.", "It is usually 1 or -1.")
    if labels.size and int(labels.min()) + offset < 0:
        raise LabelError(
            f"--label-offset {offset} makes label {labels.min()} negative.",
            "It is added to every label.",
        )
    return labels + offset


def _check_columns(path: Path, found: Sequence[str] | None) -> None:
    missing = [column for column in _COLUMNS if column not in (found or ())]
    if missing:
        raise LabelError(
            f"{path} has no column {' and no column '.join(missing)}.",
            "Its first row has to be: file,class_index",
        )


def _collect(path: Path, rows: csv.DictReader[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in rows:
        file, text = row["file"], row["class_index"]
        if not file or text is None or not _CLASS_INDEX.fullmatch(text.strip()):
            raise LabelError(
                f"{path}, line {rows.line_num}: {text!r} is not a class index of {file!r}.",
                "A row is a file name and a whole number from 0.",
            )
        if found.setdefault(file, int(text)) != int(text):
            raise LabelError(f"{path}, line {rows.line_num}: {file!r} has two labels.")
    return found


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
