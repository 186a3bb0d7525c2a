"""Where TensorFlow Lite Micro puts buffers in its arena."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

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

    def meets(self, other: Buffer) -> bool:
        """Return True if there is a step that needs both."""
        return self.first <= other.last and other.first <= self.last


def planned_bytes(buffers: Sequence[Buffer]) -> int:
    """Compute the memory that the plan needs.

    The rule is that of ``GreedyMemoryPlanner`` (tensorflow/lite/micro/memory_planner/
    greedy_memory_planner.cc): the largest buffer first, of equal ones the last; each goes into the
    first gap between those that are placed and in use at the same time.
    """
    offsets: list[int] = []
    placed: list[Buffer] = []
    backwards = [Buffer(align(b.size), b.first, b.last) for b in buffers[::-1]]
    for buffer in sorted(backwards, key=lambda b: -b.size):
        offset = _gap(buffer, offsets, placed)
        position = bisect_right(offsets, offset)
        offsets.insert(position, offset)
        placed.insert(position, buffer)
    return max((at + b.size for at, b in zip(offsets, placed, strict=True)), default=0)


def _gap(buffer: Buffer, offsets: Sequence[int], placed: Sequence[Buffer]) -> int:
    """Find the lowest offset where a buffer fits."""
    candidate = 0
    for offset, other in zip(offsets, placed, strict=True):
        if not buffer.meets(other):
            continue
        if offset - candidate >= buffer.size:
            break
        candidate = max(candidate, offset + other.size)
    return candidate


def align(size: int) -> int:
    """Round up to the arena's alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT
