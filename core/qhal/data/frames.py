"""Frames of sequences: samples that hold a whole sequence each, read frame by frame."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
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


def open_frames(source: SampleSource, types: Types, states: Collection[str]) -> SampleSource:
    """Return the frames of a source whose samples are sequences: one axis more in front.

    All samples decide, for a sequence of one frame may look like a frame. A source of frames is
    returned as it is.

    Args:
        source: of samples.
        types: array in the source -> type of the input that it is for.
        states: arrays that hold states.

    Raises:
        DataShapeError: a sample has arrays of different lengths, or none.
        LabelError: there are labels, which would be those of sequences.
    """
    if source.kind == "images":
        return source
    shapes = [source.shapes(number) for number in range(len(source))]
    longer = {
        (name, len(shape))
        for sample in shapes
        for name, shape in sample.items()
        if name in types and not is_frame(shape, types[name]) and is_sequence(shape, types[name])
    }
    first = [(n, shape) for n, shape in shapes[0].items() if n in types and n not in states]
    fits = all(is_frame(shape, types[n]) or is_sequence(shape, types[n]) for n, shape in first)
    if not fits or all(name in states for name, _ in longer):
        return source
    return FrameSource(source, shapes, longer)


def is_sequence(shape: tuple[int, ...], kind: TensorType) -> bool:
    """Return True if an array of a sample has an axis of frames in front of the input's."""
    return bool(shape) and is_frame(shape[1:], kind)


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

    def __init__(
        self,
        source: SampleSource,
        shapes: Sequence[Mapping[str, tuple[int, ...]]],
        longer: Collection[tuple[str, int]],
    ) -> None:
        """Find out how long the sequences are.

        Args:
            source: of which every sample is a sequence.
            shapes: of its samples' arrays.
            longer: arrays, with their ranks, whose first axis counts frames.

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
        self._source, self._longer, self._last = source, frozenset(longer), _Last()
        lengths = [self._length_of(number, each) for number, each in enumerate(shapes)]
        self._ends = tuple(accumulate(lengths))
        self.starts = (0, *self._ends[:-1])

    def __len__(self) -> int:
        return self._ends[-1]

    def read(self, index: int) -> Mapping[str, Array]:
        """Return one frame of every array; what has no axis of frames is there in each."""
        number, frame = self._place(index)
        return {
            name: np.asarray(array[frame] if self._has_frames(name, array.shape) else array)
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

    def _has_frames(self, name: str, shape: tuple[int, ...]) -> bool:
        return (name, len(shape)) in self._longer and len(shape) > 0

    def _length_of(self, number: int, shapes: Mapping[str, tuple[int, ...]]) -> int:
        lengths = {
            name or UNNAMED: shape[0]
            for name, shape in shapes.items()
            if self._has_frames(name, shape)
        }
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            listed = ", ".join(f"{name!r} has {length}" for name, length in lengths.items())
            raise DataShapeError(
                f"{self._source.where(number)}: {listed or 'no array has'} frames.",
                "The first axis of every sequence counts its frames, as many in all arrays and at "
                "least one.",
            )
        return next(iter(lengths.values()))
