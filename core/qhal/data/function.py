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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from numbers import Integral
from threading import Lock
from typing import IO, Any

import numpy as np

from qhal.data.guest import Guest, only_here
from qhal.data.labels import LAST_CLASS
from qhal.data.room import check_samples, copying, temporary_file, temporary_room
from qhal.data.source import LABEL_NAMES, UNNAMED, ArraySource, SampleSource, split_labels
from qhal.errors import DataFileError, DataShapeError, LabelError
from qhal.ir.graph import Array, Arrays

MOST_YIELDED = 200_000
"""Samples that are taken of what is run once; who yields more may never end."""

_END = object()


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
    with Guest.called(reference).runs():
        found: Any = import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    if not callable(found):
        raise DataFileError(f"{reference} is not a function.", "Name a function without arguments.")
    return found  # type: ignore[no-any-return]


def depends_on_process(source: object) -> bool:
    """Return True if another process might find other samples at a source: it is a function.

    A function that is named by ``package.module:function`` is the same everywhere as long as its
    module is not imported here, and so cannot have been changed.
    """
    if callable(source):
        return True
    module, colon, _ = source.partition(":") if isinstance(source, str) else ("", "", "")
    return bool(colon) and module in sys.modules


def open_function(
    function: Callable[[], object], name: str, inputs: Sequence[str], labels: str | None
) -> SampleSource:
    """Open the samples that a function makes.

    Raises:
        DataFileError: the function fails, or makes no samples.
        DataShapeError: it makes something that is not a sample.
    """
    guest = Guest.called(name)
    with guest.runs():
        with only_here():
            made = function()
        if isinstance(made, np.ndarray):
            return ArraySource("function", name, {UNNAMED: made})
        if isinstance(made, Mapping):
            return open_mapping(made, "function", name, inputs, labels)
        is_text = isinstance(made, str | bytes)
        if hasattr(made, "__len__") and hasattr(made, "__getitem__") and not is_text:
            return _Fetched(made, guest, inputs)
        if isinstance(made, Iterable) and not is_text:
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

    def __init__(self, items: Any, guest: Guest, inputs: Sequence[str]) -> None:
        self.name = name = guest.name
        self._items, self._guest, self._inputs = items, guest, inputs
        with guest.runs():
            self._length = len(items)
        if not self._length:
            raise DataFileError(f"{name} makes no samples.")
        check_samples(self._length, name)
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
        with self._guest.runs():
            return _item(self._items[index], self.name, self._inputs)


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
        file = cleanup.enter_context(temporary_file())
        source = _fill(file, (_item(value, name, inputs) for value in _taken(items)), name)
        cleanup.pop_all()  # from here on the source owns the file
        return source


def _taken(items: Iterator[object]) -> Iterator[object]:
    """Yield what an iterator makes, in this process only: a copy would write to the same file."""
    while True:
        with only_here():
            value = next(items, _END)
        if value is _END:
            return
        yield value


def _fill(file: IO[bytes], items: Iterator[_Item], name: str) -> SampleSource:
    ends: list[int] = []
    labels: list[int | None] = []
    names: tuple[str, ...] = ()
    room = temporary_room()
    for item in items:
        _check_ends(len(ends), file.tell(), room, name)
        names = names or tuple(item.arrays)
        _write(file, item.arrays, names, f"sample {len(ends)} of {name}")
        ends.append(file.tell())
        labels.append(item.label)
    if not ends:
        raise DataFileError(f"{name} makes no samples.")
    found = _labels(labels, name) if labels.count(None) < len(labels) else None
    return _Spooled(name, names, file, ends, found)


def _check_ends(count: int, size: int, room: int, name: str) -> None:
    """Raise DataFileError if so much came already that more would fill the disk, or never end."""
    if count >= MOST_YIELDED or size > room:
        raise DataFileError(
            f"{name} yields more than {count:,} samples ({size:,} bytes); does it end?",
            "Yield fewer, or return a sequence, whose samples are fetched one at a time.",
        )


def _write(file: IO[bytes], arrays: Arrays, names: Sequence[str], where: str) -> None:
    if set(arrays) != set(names):
        raise DataShapeError(f"{where} has arrays {_listed(arrays)}, not {_listed(names)}.")
    try:
        with copying(where):
            for name in names:
                array = np.asarray(arrays[name], order="C")
                np.lib.format.write_array(file, array, allow_pickle=False)
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
    if label is None:
        return None
    if not isinstance(label, Integral) or isinstance(label, bool):
        shown = str(label)[:60]
        raise LabelError(f"{where} gives {shown!r} as a label.", "A label is the index of a class.")
    if not 0 <= (index := int(label)) <= LAST_CLASS:
        raise LabelError(
            f"{where} gives a label that is no class index.", f"They go from 0 to {LAST_CLASS}."
        )
    return index


def _labels(labels: Sequence[int | None], where: str) -> Array:
    present = [label for label in labels if label is not None]
    if len(present) < len(labels):
        raise LabelError(f"{where} gives labels for {len(present)} of {len(labels)} samples.")
    return np.array(present, np.int64)


def _as_array(value: object, where: str) -> Array:
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever the conversion of the user's own types raises
        raise DataShapeError(f"{where} gives a sample that is not an array: {error}.") from error
    if array.dtype.kind not in "biuf":
        raise DataShapeError(
            f"{where} gives {type(value).__name__} values of type {array.dtype}.",
            "Samples are arrays of numbers.",
        )
    return array


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(map(repr, names)))
