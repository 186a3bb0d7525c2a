"""Evaluation data together with what the float model makes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from qhal.data.rollout import Rollout
from qhal.data.spool import Spool
from qhal.ir.graph import Array, Arrays
from qhal.verify.reference import FloatReference

_ENOUGH_FRAMES = 1000
"""From which on the evaluation alone says how much decisions vary."""


class Samples(Protocol):
    """What an evaluation needs of a data set; :class:`qhal.data.Dataset` has it."""

    @property
    def labels(self) -> Array | None:
        """One class index per sample, or None."""
        ...

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def sample(self, index: int) -> Arrays:
        """Return one sample of every input, in the shapes and types of the user's model."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """Samples and expected results; decoded and computed once where there are spools.

    Attributes:
        dataset: the samples.
        reference: the user's float model.
        inputs: remembers decoded samples; None decodes at each request.
        outputs: remembers the float model's results; None computes at each request.
        chosen: which samples, in the order in which they are taken; None takes all.
        further: frames of calibration, over which a closed loop runs as well; None if there are
            none, or if they are those of the evaluation.
    """

    dataset: Samples
    reference: FloatReference
    inputs: Spool | None = None
    outputs: Spool | None = None
    chosen: tuple[int, ...] | None = None
    further: Rollout | None = None

    @property
    def labels(self) -> Array | None:
        """Class indices (samples, batch), or None."""
        labels = self.dataset.labels
        if labels is None:
            return None
        rows = labels.reshape(len(self.dataset), -1)
        return rows if self.chosen is None else rows[list(self.chosen)]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.dataset) if self.chosen is None else len(self.chosen)

    def spread(self, count: int) -> Evaluation:
        """Take so many of the samples, evenly spread: data are often sorted by class."""
        total = len(self.dataset)
        count = min(count, total)
        return replace(self, chosen=tuple(i * total // count for i in range(count)))

    def first(self, count: int) -> Evaluation:
        """Take so many of the samples from the beginning: frames have an order."""
        return replace(self, chosen=tuple(range(min(count, len(self.dataset)))))

    @property
    def rollout(self) -> Rollout | None:
        """The frames, if the model has states; they are taken from the first one on."""
        return self.dataset if isinstance(self.dataset, Rollout) else None

    def part(self, count: int) -> Evaluation:
        """Take so many samples to run the model on: spread, or in order if it has states."""
        return self.spread(count) if self.rollout is None else self.first(count)

    def further_frames(self) -> Evaluation | None:
        """Return as many further frames as this has, where it has few; None if there are none."""
        if self.further is None or len(self) >= _ENOUGH_FRAMES:
            return None
        return Evaluation(self.further, self.reference).first(len(self))

    def sample(self, index: int) -> Arrays:
        """Return one sample of every input, in the shapes and types of the user's model."""
        number = self._number(index)
        if self.inputs is None:
            return self.dataset.sample(number)
        return self.inputs.get(number, lambda: self.dataset.sample(number))

    def expected(self, index: int, inputs: Arrays) -> Arrays:
        """Return the float model's outputs for a sample; another thread may ask for them."""
        if self.outputs is None:
            return self.reference.run(inputs)
        return self.outputs.get(self._number(index), lambda: self.reference.run(inputs))

    def _number(self, index: int) -> int:
        """Return the number of a sample in the data set."""
        return index if self.chosen is None else self.chosen[index]
