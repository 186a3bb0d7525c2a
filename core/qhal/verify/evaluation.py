"""Evaluation data together with what the float model makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from qhal.ir.graph import Array
from qhal.spool import Spool
from qhal.verify.reference import FloatReference

Arrays = Mapping[str, Array]


class Samples(Protocol):
    """What an evaluation needs of a data set; :class:`qhal.data.Dataset` has it."""

    @property
    def labels(self) -> Array | None:
        """One class index per sample, or None."""
        ...

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def sample(self, index: int) -> Arrays:
        """One sample of every input, in the shapes and types of the user's model."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """Samples and expected results; decoded and computed once where there are spools.

    Attributes:
        dataset: the samples.
        reference: the user's float model.
        inputs: remembers decoded samples; None decodes at each request.
        outputs: remembers the float model's results; None computes at each request.
    """

    dataset: Samples
    reference: FloatReference
    inputs: Spool | None = None
    outputs: Spool | None = None

    @property
    def labels(self) -> Array | None:
        """One class index per sample, or None."""
        return self.dataset.labels

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.dataset)

    def sample(self, index: int) -> Arrays:
        """One sample of every input, in the shapes and types of the user's model."""
        if self.inputs is None:
            return self.dataset.sample(index)
        return self.inputs.get(index, lambda: self.dataset.sample(index))

    def expected(self, index: int, inputs: Arrays) -> Arrays:
        """The float model's outputs for a sample; may be asked for in another thread."""
        if self.outputs is None:
            return self.reference.run(inputs)
        return self.outputs.get(index, lambda: self.reference.run(inputs))
