"""Fewer dimensions for the same broadcast.

The kernels broadcast operands of up to four dimensions (MUL of tflite-runtime 2.14 crashes with
more). Neighboring dimensions in which the same operands are repeated can be merged into one.
"""

from __future__ import annotations

from collections.abc import Sequence

Ints = tuple[int, ...]

BROADCAST_RANK = 4
"""Dimensions that all broadcasting kernels take (BroadcastMul4DSlow and its like)."""


def compact(shapes: Sequence[Ints]) -> list[Ints]:
    """Merge dimensions: find the shapes of lowest rank that broadcast in the same way.

    Args:
        shapes: operands and result, which broadcast as NumPy does.

    Returns:
        One shape for each, of equal rank, with the same elements in the same order.
    """
    rank = max(map(len, shapes))
    full = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    merged: list[list[int]] = []
    for sizes in zip(*full, strict=True):
        if max(sizes) == 1:
            continue
        if merged and _spread(merged[-1]) == _spread(sizes):
            merged[-1] = [a * b for a, b in zip(merged[-1], sizes, strict=True)]
        else:
            merged.append(list(sizes))
    return [tuple(axis[i] for axis in merged) or (1,) for i in range(len(full))]


def _spread(sizes: Sequence[int]) -> list[bool]:
    """Mark the operands that have one element along a dimension."""
    return [size == 1 for size in sizes]
