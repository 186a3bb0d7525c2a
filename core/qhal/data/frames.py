"""Frames of sequences: samples that hold a whole sequence each, read frame by frame."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from qhal.data.source import UNNAMED, SampleSource
from qhal.errors import DataShapeError, LabelError
from qhal.ir.graph import Array, TensorType

Types = Mapping[str, TensorType]


def is_frame(shape: tuple[int, ...], kind: TensorType) -> bool:
    """Return True if an array of a sample is the input itself; a batch of 1 may be left out."""
    return shape == kind.shape or (kind.shape[:1] == (1,) and shape == kind.shape[1:])


def holds_sequences(source: SampleSource, types: Types, states: Collection[str]) -> bool:
    """Return True if a sample is a sequence of frames: one axis more in front.

    Args:
        source: of samples.
        types: array in the source -> type of the input that it is for.
        states: arrays that hold states.
    """
    if source.kind == "images":
        return False
    shapes = {name: array.shape for name, array in source.read(0).items() if name in types}
    data = {name: shape for name, shape in shapes.items() if name not in states}
    longer = [name for name, shape in data.items() if not is_frame(shape, types[name])]
    return bool(longer) and all(shapes[n] and is_frame(shapes[n][1:], types[n]) for n in longer)


@dataclass
class _Last:
    """The sample that was read last."""

    number: int = -1
    arrays: Mapping[str, Array] = field(default_factory=dict)


class FrameSource(SampleSource):
    """The frames of all sequences of a source, one after the other.

    Attributes:
        starts: the frames at which a sequence begins, ascending from 0.
    """

    def __init__(self, source: SampleSource, types: Types) -> None:
        """Find out how long the sequences are.

        Args:
            source: of which every sample is a sequence.
            types: array in the source -> type of the input that it is for.

        Raises:
            DataShapeError: a sample has arrays of different lengths, or none.
            LabelError: there are labels, which would be those of sequences.
        """
        if source.labels is not None:
            raise LabelError(
                f"{source.name} has a label for each sequence, but a model with states has an "
                "output for each frame.",
                "Leave the labels out, or give the frames of one sequence as samples.",
            )
        self.kind, self.name, self.names = source.kind, source.name, source.names
        self._source, self._types, self._last = source, types, _Last()
        lengths = [self._length_of(number) for number in range(len(source))]
        self._ends = tuple(accumulate(lengths))
        self.starts = (0, *self._ends[:-1])

    def __len__(self) -> int:
        return self._ends[-1]

    def read(self, index: int) -> Mapping[str, Array]:
        """Return one frame of every array; what has no axis of frames is there in each."""
        number, frame = self._place(index)
        return {
            name: np.asarray(array[frame] if self._has_frames(name, array) else array)
            for name, array in self._sample(number).items()
        }

    def where(self, index: int) -> str:
        """Name a frame as messages do."""
        number, frame = self._place(index)
        return f"frame {frame} of {self._source.where(number)}"

    def _place(self, index: int) -> tuple[int, int]:
        number = bisect_right(self.starts, index) - 1
        return number, index - self.starts[number]

    def _sample(self, number: int) -> Mapping[str, Array]:
        if self._last.number != number:
            self._last = _Last(number, self._source.read(number))
        return self._last.arrays

    def _has_frames(self, name: str, array: Array) -> bool:
        kind = self._types.get(name)
        return kind is not None and array.ndim > 0 and not is_frame(array.shape, kind)

    def _length_of(self, number: int) -> int:
        lengths = {
            name or UNNAMED: len(array)
            for name, array in self._sample(number).items()
            if self._has_frames(name, array)
        }
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            listed = ", ".join(f"{name!r} has {length}" for name, length in lengths.items())
            raise DataShapeError(
                f"{self._source.where(number)}: {listed or 'no array has'} frames.",
                "The first axis of every sequence counts its frames, as many in all arrays and at "
                "least one.",
            )
        return next(iter(lengths.values()))
