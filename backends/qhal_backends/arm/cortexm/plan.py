"""Where TensorFlow Lite Micro puts buffers in its arena."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ALIGNMENT = 16
"""MicroArenaBufferAlignment, in ``tensorflow/lite/micro/micro_arena_constants.h``."""


@dataclass(frozen=True)
class Buffer:
    """A tensor or a scratch buffer.

    Attributes:
        size: in bytes.
        first: index of the step that makes it.
        last: index of the last step that needs it.
    """

    size: int
    first: int
    last: int


def planned_bytes(buffers: Sequence[Buffer]) -> int:
    """Compute the memory that the plan needs.

    The rule is that of ``GreedyMemoryPlanner`` (tensorflow/lite/micro/memory_planner/
    greedy_memory_planner.cc): the largest buffer first, of equal ones the last; each goes into the
    first gap between those that are placed and in use at the same time.
    """
    backwards = [Buffer(align(b.size), b.first, b.last) for b in buffers[::-1]]
    placed = _Placed(len(backwards))
    for buffer in sorted(backwards, key=lambda b: -b.size):
        placed.add(buffer)
    return placed.size


class _Placed:
    """Buffers by their offsets, as columns: of thousands, each new one is held against all."""

    def __init__(self, most: int) -> None:
        self._columns = np.zeros((4, most), np.int64)
        self._count = 0
        self.size = 0

    def add(self, buffer: Buffer) -> None:
        """Place a buffer into the lowest gap where it fits."""
        offset, columns = self._gap(buffer), self._columns
        at, end = int(np.searchsorted(columns[0, : self._count], offset, "right")), self._count
        columns[:, at + 1 : end + 1] = columns[:, at:end]
        columns[:, at] = offset, offset + buffer.size, buffer.first, buffer.last
        self._count += 1
        self.size = max(self.size, offset + buffer.size)

    def _gap(self, buffer: Buffer) -> int:
        offsets, ends, firsts, lasts = self._columns[:, : self._count]
        meets = (firsts <= buffer.last) & (lasts >= buffer.first)
        begins, filled = offsets[meets], np.maximum.accumulate(ends[meets])
        below = np.concatenate([[0], filled])
        wide = np.flatnonzero(begins - below[:-1] >= buffer.size)
        return int(below[wide[0] if wide.size else -1])


def align(size: int) -> int:
    """Round up to the arena's alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT
