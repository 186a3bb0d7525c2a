"""What all sources of samples have in common, and the one over whole arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np

from qhal.errors import DataFileError, DataShapeError
from qhal.ir.graph import Array

LABEL_NAMES = ("labels", "label", "y")
"""Names under which arrays of labels are found."""

UNNAMED = ""
"""The name of a sample's array where there is one without a name."""


class SampleSource(ABC):
    """Samples numbered from 0, each a few named arrays, read one at a time.

    Attributes:
        kind: what it is, one word for the record.
        name: what the user called it.
        names: names of the arrays in every sample.
        labels: as found, one per sample, or None.
    """

    kind: str
    name: str
    names: tuple[str, ...]
    labels: Array | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def read(self, index: int) -> Mapping[str, Array]:
        """Read the arrays of a sample, as they are in the source.

        Raises:
            DataFileError: they cannot be read.
        """

    def shapes(self, index: int) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of a sample's arrays; read no more for it than needed."""
        return {name: array.shape for name, array in self.read(index).items()}

    def content(self, index: int) -> Iterable[bytes | memoryview]:
        """Yield what identifies the content of a sample, for the fingerprint."""
        for name, array in sorted(self.read(index).items()):
            yield f"{name} {array.dtype.str} {array.shape}\n".encode()
            yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data

    def where(self, index: int) -> str:
        """Name a sample as messages do."""
        return f"sample {index} of {self.name}"


class SampleArray(Protocol):
    """An array whose first axis counts the samples: a NumPy array, or one in a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, the sample axis first."""
        ...

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the elements."""
        ...

    def __getitem__(self, index: int, /) -> Array:
        """Return one sample."""
        ...


class ArraySource(SampleSource):
    """Whole arrays, in memory or in a file, that share a sample axis."""

    def __init__(
        self,
        kind: str,
        name: str,
        arrays: Mapping[str, SampleArray],
        labels: Array | None = None,
    ) -> None:
        """Check that the arrays agree on the number of samples.

        Raises:
            DataFileError: there is no array, or no sample.
            DataShapeError: they do not agree.
        """
        self.kind, self.name, self.labels = kind, name, labels
        self.names = tuple(arrays)
        self._arrays = arrays
        if not arrays:
            raise DataFileError(f"There is no array in {name}.", "Name one like the model's input.")
        self._length = _common_length(name, arrays)
        self._shapes = {name: array.shape[1:] for name, array in arrays.items()}

    def __len__(self) -> int:
        return self._length

    def shapes(self, index: int) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of the slices, which are all alike."""
        del index
        return self._shapes

    def read(self, index: int) -> Mapping[str, Array]:
        """Return the sample's slice of every array."""
        return {name: np.asarray(array[index]) for name, array in self._arrays.items()}


def split_labels(
    arrays: Mapping[str, SampleArray], inputs: Iterable[str], labels: str | None
) -> tuple[dict[str, SampleArray], str | None]:
    """Split the arrays into samples and labels.

    Args:
        arrays: all that were found.
        inputs: names of the model's inputs, which are never labels.
        labels: name of the labels if the user gave it.

    Returns:
        The other arrays, and the name of the array of labels or None.
    """
    candidates = (labels,) if labels else LABEL_NAMES
    found = next((n for n in candidates if n in arrays and n not in set(inputs)), None)
    return {name: array for name, array in arrays.items() if name != found}, found


def _common_length(name: str, arrays: Mapping[str, SampleArray]) -> int:
    for key, array in arrays.items():
        if not array.shape:
            raise DataShapeError(
                f"Array {key!r} in {name} is a single number.",
                "The first axis of every array counts the samples.",
            )
    lengths = {key: array.shape[0] for key, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{key!r} has {length}" for key, length in lengths.items())
        raise DataShapeError(
            f"The arrays in {name} have different numbers of samples: {listed}.",
            "The first axis of every array counts the samples.",
        )
    length = next(iter(lengths.values()))
    if not length:
        raise DataFileError(f"There is no sample in {name}: its arrays have length 0.")
    return length
