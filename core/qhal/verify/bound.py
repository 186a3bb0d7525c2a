"""How many decisions of other frames may differ, judged by the frames that were seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt

import numpy as np

from qhal.ir.graph import Array
from qhal.verify.accuracy import Equality

_BLOCKS = 20
_FEWEST_BLOCKS = 5
_SHORTEST = 10
"""Frames of a block: neighbors err together, since a state carries an error on."""

_NORMAL_95 = 1.645


@dataclass
class FrameEquality(Equality):
    """How many elements are equal, and how that varies from frame to frame.

    Attributes:
        differing: elements that differ, per frame.
    """

    differing: list[int] = field(default_factory=list)

    def add(self, reference: Array, other: Array) -> None:
        """Take in one frame."""
        before = self.elements - self.equal
        super().add(reference, other)
        self.differing.append(self.elements - self.equal - before)

    @property
    def wrong(self) -> int:
        """Elements that differ."""
        return self.elements - self.equal

    @property
    def bound(self) -> float:
        """The share below which that of other frames like these is: one-sided, 95 %.

        It is the score interval of Wilson (1927, "Probable inference, the law of succession, and
        statistical inference"), with as many independent elements as the means of blocks of
        frames vary.
        """
        share, count, z = 1 - self.share, self._independent(), _NORMAL_95
        if not count:
            return 0.0
        reach = z * sqrt(share * (1 - share) / count + (z / count / 2) ** 2)
        return min(1.0, (share + z * z / count / 2 + reach) / (1 + z * z / count))

    def _independent(self) -> float:
        """Return the number of independent elements that would vary as much."""
        share, frames = 1 - self.share, len(self.differing)
        length = max(_SHORTEST, frames // _BLOCKS)
        blocks = frames // length
        if blocks < _FEWEST_BLOCKS or not 0 < share < 1:
            return float(frames)
        parts = np.reshape(self.differing[: blocks * length], (blocks, length)).mean(1)
        variance = float(parts.var(ddof=1)) / blocks * (frames / self.elements) ** 2
        counted = share * (1 - share) / variance if variance else self.elements
        return max(1.0, min(float(self.elements), counted))
