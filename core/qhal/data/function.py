"""Samples that a function makes: ``package.module:function``, or any callable.

The function takes no arguments. What it returns decides how the samples are read:

* a mapping of arrays, or one array: the first axis counts the samples;
* a sequence (``len`` and indexing, such as a list or a data set class): items are fetched when
  they are needed;
* anything else that can be iterated, such as a generator: it is run once, and its samples are
  written to an anonymous temporary file, so that memory does not grow with their number. It has
  to end.

A sample is an array (models with one input), a mapping of arrays by input name, or a pair of one
of these and its label. A mapping may also hold the label, under ``label``, ``labels`` or ``y``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from numbers import Integral
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np

from qhal.data.source import LABEL_NAMES, UNNAMED, ArraySource, SampleSource, split_labels
from qhal.errors import DataFileError, DataShapeError, LabelError
from qhal.ir.graph import Array, Arrays


@dataclass(frozen=True)
class _Item:
    """One sample with its label, which may be absent."""

    arrays: Arrays
    label: int | None


def find_function(reference: str) -> Callable[[], object]:
    """Import the function that ``package.module:function`` names, also from the working folder.

    Raises:
        DataFileError: the module or the function cannot be loaded.
    """
    module_name, _, attribute = reference.partition(":")
    with _user_code(reference), _working_folder_importable():
        found: Any = import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    if not callable(found):
        raise DataFileError(f"{reference} is not a function.", "Name a function without arguments.")
    return found  # type: ignore[no-any-return]


def open_function(
    function: Callable[[], object], name: str, inputs: Sequence[str], labels: str | None
) -> SampleSource:
    """Open the samples that a function makes.

    Raises:
        DataFileError: the function fails, or makes no samples.
        DataShapeError: it makes something that is not a sample.
    """
    with _user_code(name):
        made = function()
    if isinstance(made, np.ndarray):
        return ArraySource("function", name, {UNNAMED: made})
    if isinstance(made, Mapping):
        return open_mapping(made, "function", name, inputs, labels)
    if hasattr(made, "__len__") and hasattr(made, "__getitem__") and not isinstance(made, str):
        return _Fetched(made, name, inputs)
    if isinstance(made, Iterable) and not isinstance(made, str):
        return _spool(iter(made), name, inputs)
    raise DataShapeError(
        f"{name} returns {type(made).__name__}, not samples.",
        "Return a mapping of arrays, a sequence of samples, or yield samples.",
    )


def open_mapping(
    made: Mapping[Any, Any], kind: str, name: str, inputs: Sequence[str], labels: str | None
) -> ArraySource:
    """Open arrays by name, the first axis of each counting the samples."""
    arrays = {str(key): _as_array(value, name) for key, value in made.items()}
    rest, label_name = split_labels(arrays, inputs, labels)
    return ArraySource(kind, name, rest, arrays[label_name] if label_name else None)


class _Fetched(SampleSource):
    """A sequence whose items are fetched one at a time."""

    kind = "function"

    def __init__(self, items: Any, name: str, inputs: Sequence[str]) -> None:
        self.name, self._items, self._inputs = name, items, inputs
        with _user_code(name):
            self._length = len(items)
        if not self._length:
            raise DataFileError(f"{name} makes no samples.")
        first = self._item(0)
        self.names = tuple(first.arrays)
        if first.label is not None:
            self.labels = _labels([self._item(i).label for i in range(self._length)], name)

    def __len__(self) -> int:
        return self._length

    def read(self, index: int) -> Arrays:
        """Return the arrays of item ``index``."""
        return self._item(index).arrays

    def _item(self, index: int) -> _Item:
        with _user_code(self.name):
            value = self._items[index]
        return _item(value, self.name, self._inputs)


class _Spooled(SampleSource):
    """Samples in a temporary file, one after the other."""

    kind = "function"

    def __init__(
        self,
        name: str,
        names: Sequence[str],
        file: IO[bytes],
        ends: Sequence[int],
        labels: Array | None,
    ) -> None:
        self.name, self.names, self.labels = name, tuple(names), labels
        self._file, self._ends, self._lock = file, ends, Lock()

    def __len__(self) -> int:
        return len(self._ends)

    def read(self, index: int) -> Arrays:
        """Return the arrays of a sample, in the order in which they were written."""
        start = self._ends[index - 1] if index else 0
        with self._lock:
            self._file.seek(start)
            packed = BytesIO(self._file.read(self._ends[index] - start))
        return {name: np.load(packed, allow_pickle=False) for name in self.names}

    def __del__(self) -> None:
        self._file.close()


def _spool(items: Iterator[object], name: str, inputs: Sequence[str]) -> SampleSource:
    """Run an iterator to its end and keep what it makes in a temporary file."""
    with ExitStack() as cleanup:
        file = cleanup.enter_context(tempfile.TemporaryFile())
        source = _fill(file, (_item(v, name, inputs) for v in _drained(items, name)), name)
        cleanup.pop_all()  # from here on the source owns the file
        return source


def _fill(file: IO[bytes], items: Iterator[_Item], name: str) -> SampleSource:
    ends: list[int] = []
    labels: list[int | None] = []
    names: tuple[str, ...] = ()
    for item in items:
        names = names or tuple(item.arrays)
        _write(file, item.arrays, names, f"sample {len(ends)} of {name}")
        ends.append(file.tell())
        labels.append(item.label)
    if not ends:
        raise DataFileError(f"{name} makes no samples.")
    found = _labels(labels, name) if labels.count(None) < len(labels) else None
    return _Spooled(name, names, file, ends, found)


def _drained(items: Iterator[object], name: str) -> Iterator[object]:
    """Yield the items; distinguish errors of the user's generator from qhal's own."""
    while True:
        with _user_code(name):
            try:
                value = next(items)
            except StopIteration:
                return
        yield value


def _write(file: IO[bytes], arrays: Arrays, names: Sequence[str], where: str) -> None:
    if set(arrays) != set(names):
        raise DataShapeError(f"{where} has arrays {_listed(arrays)}, not {_listed(names)}.")
    try:
        for name in names:
            np.lib.format.write_array(file, np.ascontiguousarray(arrays[name]), allow_pickle=False)
    except OSError as error:
        raise DataFileError(
            f"{where} cannot be kept in a temporary file: {error}.",
            "Set TMPDIR to a folder with more space, or return a sequence.",
        ) from error


def _item(value: object, where: str, inputs: Sequence[str]) -> _Item:
    label: object = None
    if isinstance(value, tuple) and len(value) == 2:
        value, label = value
    if isinstance(value, Mapping):
        arrays = {str(key): _as_array(item, where) for key, item in value.items()}
        for key in LABEL_NAMES:
            if key in arrays and key not in inputs:
                label = arrays.pop(key)
    else:
        arrays = {UNNAMED: _as_array(value, where)}
    return _Item(arrays, _label(label, where))


def _label(label: object, where: str) -> int | None:
    if isinstance(label, np.ndarray) and label.size == 1:
        label = label.reshape(-1)[0]
    if label is None or (isinstance(label, Integral) and not isinstance(label, bool)):
        return None if label is None else int(label)
    raise LabelError(
        f"{where} gives {str(label)[:60]!r} as a label.", "A label is the index of a class."
    )


def _labels(labels: Sequence[int | None], where: str) -> Array:
    present = [label for label in labels if label is not None]
    if len(present) < len(labels):
        raise LabelError(f"{where} gives labels for {len(present)} of {len(labels)} samples.")
    return np.array(present, np.int64)


def _as_array(value: object, where: str) -> Array:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataShapeError(f"{where} gives a sample that is not an array: {error}.") from error
    if array.dtype.kind not in "biuf":
        raise DataShapeError(
            f"{where} gives {type(value).__name__} values of type {array.dtype}.",
            "Samples are arrays of numbers.",
        )
    return array


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(map(repr, names)))


@contextmanager
def _user_code(name: str) -> Iterator[None]:
    """Turn errors of the user's code into a clear one of qhal's; the original is its cause."""
    try:
        yield
    except Exception as error:
        raise DataFileError(f"{name} fails: {type(error).__name__}: {error}.") from error


@contextmanager
def _working_folder_importable() -> Iterator[None]:
    """Let modules be found in the working folder, as ``python -m`` does."""
    folder = str(Path.cwd())
    if folder in sys.path or "" in sys.path:
        yield
        return
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
