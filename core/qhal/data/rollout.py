"""Samples in their order, with the states that the float model itself comes to."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from qhal.data.dataset import Dataset
from qhal.data.frames import FrameSource
from qhal.decisions import Code, Decision
from qhal.errors import DataValueError
from qhal.ir.graph import Array, Arrays
from qhal.metric import counted

FloatModel = Callable[[Arrays], Mapping[str, Array]]
"""Runs the float model on the inputs of one frame."""


@dataclass
class _Position:
    """The state of one sequence in front of a frame; memory does not grow with the sequence."""

    frame: int = -1
    start: int = -1
    state: Arrays = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Rollout(Dataset):
    """Frames of sequences, in which each state is what the float model made of the frame before.

    States that the data give count at the first frame of a sequence; where they give none, a
    state begins as zeros. A frame that is asked for out of order runs the model over the frames
    in front of it again.

    Attributes:
        pairs: output of the model -> the input that it feeds in the next frame.
        float_model: the float model.
        starts: the frames of the source at which a sequence begins, ascending from 0.
    """

    pairs: Mapping[str, str] = field(kw_only=True)
    float_model: FloatModel = field(kw_only=True)
    starts: tuple[int, ...] = field(kw_only=True, default=(0,))

    def sample(self, index: int) -> dict[str, Array]:
        """Return the model's inputs for one frame, its states included.

        Raises:
            DataValueError: a state becomes NaN or Inf.
            QhalError: as :meth:`Dataset.sample`.
        """
        frame = int(self.indices[index])
        return {**self._frame(frame), **self._state_at(frame)}

    def data_of(self, index: int) -> dict[str, Array]:
        """Return the inputs that are no states; the model is not run."""
        return self._frame(int(self.indices[index]))

    def begins(self, index: int) -> bool:
        """Return True if a frame does not go on from the one in front of it."""
        frame = int(self.indices[index])
        is_start = self._start_of(frame) == frame
        return index == 0 or is_start or int(self.indices[index - 1]) != frame - 1

    @property
    def frames(self) -> npt.NDArray[np.intp]:
        """The frames that the model runs over, those in front of the chosen ones included."""
        touched = {self._start_of(int(f)): int(f) for f in sorted(self.indices.tolist())}
        return np.concatenate([np.arange(start, last + 1) for start, last in touched.items()])

    def describe(self) -> dict[str, object]:
        """Describe the data set for a record, in JSON values only."""
        begun = sorted({self._start_of(int(frame)) for frame in self.indices})
        return {
            **super().describe(),
            "states": dict(self.pairs),
            "frames": len(self.frames),
            "sequences": len(begun),
            "sequence_starts": begun[:_LISTED],
        }

    def _form(self) -> list[object]:
        chosen = [int(frame) for frame in self.indices]
        return [*super()._form(), "rollout", dict(self.pairs), list(self.starts), chosen]

    def _content_of(self) -> npt.NDArray[np.intp]:
        return self.frames

    def _start_of(self, frame: int) -> int:
        return self.starts[bisect_right(self.starts, frame) - 1]

    def _frame(self, frame: int) -> dict[str, Array]:
        names = [name for name in self.fits if name not in self.pairs.values()]
        return self._fitted(frame, names)

    # --- states -------------------------------------------------------------------

    @cached_property
    def _position(self) -> _Position:
        return _Position()

    def _state_at(self, frame: int) -> Arrays:
        at, start = self._position, self._start_of(frame)
        if at.start != start or at.frame > frame:
            at.start, at.frame, at.state = start, start, self._first(start)
        while at.frame < frame:
            outputs = self.float_model({**self._frame(at.frame), **at.state})
            at.state = {name: outputs[output] for output, name in self.pairs.items()}
            at.frame += 1
            self._check(at)
        return at.state

    def _first(self, frame: int) -> dict[str, Array]:
        given = [name for name in self.pairs.values() if name in self.fits]
        kinds = {name: self.inputs[name] for name in self.pairs.values()}
        zeros = {name: np.zeros(kind.shape, kind.dtype.numpy) for name, kind in kinds.items()}
        return {**zeros, **self._fitted(frame, given)}

    def _check(self, at: _Position) -> None:
        for name, value in at.state.items():
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise DataValueError(
                    f"State {name!r} becomes NaN or Inf when the float model runs over the "
                    f"sequence, after {self.source.where(at.frame - 1)}.",
                    "Check that the samples are frames of a sequence, in their order.",
                )


_LISTED = 1000
"""Starts that a record lists."""


def roll_out(dataset: Dataset, pairs: Mapping[str, str], float_model: FloatModel) -> Rollout:
    """Take samples as frames of one sequence, or of several where the data hold several.

    Args:
        dataset: the frames.
        pairs: output -> the input that it feeds in the next frame.
        float_model: the float model.
    """
    starts = dataset.source.starts if isinstance(dataset.source, FrameSource) else (0,)
    fields = (dataset.source, dataset.inputs, dataset.fits, dataset.preprocess, dataset.indices)
    return Rollout(
        *fields, dataset.source_labels, pairs=pairs, float_model=float_model, starts=starts
    )


def begin_at(rollout: Rollout, frame: int) -> Rollout:
    """Let another sequence begin at a frame."""
    return replace(rollout, starts=tuple(sorted({*rollout.starts, frame})))


def rolled_out(calibration: Rollout) -> Decision:
    """Say over which frames statistics were collected."""
    begun = len({calibration._start_of(int(f)) for f in calibration.indices})
    given = [name for name in calibration.pairs.values() if name in calibration.fits]
    initial = "the data's states at the first frame" if given else "zeros"
    sentence = (
        f"Calibration runs the float model over {counted(len(calibration.frames), 'frame')} of "
        f"{counted(begun, 'sequence')}, feeds its states back and observes "
        f"{len(calibration)} of them; a sequence begins with {initial}."
    )
    return Decision(Code.STATES_ROLLED, sentence)
