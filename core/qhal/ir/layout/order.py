"""The order in which a stored tensor holds the elements of a canonical one.

The layout pass moves no data: it decides, for each tensor, in which *order* it is stored.
An order is a permutation of the dimensions and, where a dimension was merged from several
that had been permuted (a Flatten of a channels-last activation), a shuffle inside it.

Its *walk* is the same thing seen as strides: the (size, stride) factors, outermost first, with
which the stored elements run over the canonical elements. Two orders of one tensor are the
same in memory exactly if their walks are equal; dimensions of size 1 do not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from qhal.ir.graph import Array
from qhal.ir.ops import Ints

Factor = tuple[int, int]
"""(size, stride) of one loop of a walk, in elements."""
Factors = tuple[Factor, ...]


@dataclass(frozen=True)
class Order:
    """How a tensor is stored.

    Attributes:
        perm: stored dimension i is canonical axis ``perm[i]``.
        shuffles: (canonical axis, walk over that axis) for each axis whose elements are not
            stored in their natural order, by axis.
    """

    perm: Ints
    shuffles: tuple[tuple[int, Factors], ...] = ()

    @property
    def is_identity(self) -> bool:
        """True if the tensor is stored as it is in the canonical graph."""
        return not self.shuffles and self.perm == tuple(range(len(self.perm)))

    @property
    def is_tidy(self) -> bool:
        """True if no stored dimension but the last one is shuffled."""
        return all(axis == self.perm[-1] for axis, _ in self.shuffles)

    def shuffle(self, axis: int) -> Factors:
        """Return the walk over one axis; empty for the natural one."""
        return dict(self.shuffles).get(axis, ())

    def shuffled(self, axis: int, factors: Factors) -> Order:
        """Return the same order with another walk over one axis."""
        others = {k: v for k, v in self.shuffles if k != axis}
        if factors:
            others[axis] = factors
        return Order(self.perm, tuple(sorted(others.items())))

    def plain(self, axes: Sequence[int] | None = None) -> Order:
        """Return the same order without the shuffles of ``axes`` (all if None)."""
        dropped = range(len(self.perm)) if axes is None else axes
        return Order(self.perm, tuple((k, v) for k, v in self.shuffles if k not in dropped))

    def position(self, axis: int) -> int:
        """Return the stored dimension that holds a canonical axis."""
        return self.perm.index(axis)

    def pick(self, values: Ints) -> Ints:
        """Reorder one value per canonical axis (a shape, pads …) to one per stored dimension."""
        return tuple(values[axis] for axis in self.perm)


def identity(rank: int) -> Order:
    """Return the canonical order."""
    return Order(tuple(range(rank)))


def channels_last(rank: int) -> Order:
    """Return the order that stores ``(N, C, *spatial)`` as ``(N, *spatial, C)``."""
    return Order((0, *range(2, rank), 1)) if rank > 2 else identity(rank)


def strides(shape: Ints) -> Ints:
    """Return the strides of a dense tensor, in elements."""
    return (*accumulate(reversed(shape[1:]), lambda a, b: a * b, initial=1),)[::-1] if shape else ()


def walk(order: Order, shape: Ints) -> Factors:
    """Return the factors of the walk of stored elements over canonical ones, without size 1."""
    dense = strides(shape)
    factors: list[Factor] = []
    for axis in order.perm:
        for size, stride in order.shuffle(axis) or ((shape[axis], 1),):
            factors.append((size, stride * dense[axis]))
    return _merged(factors)


def _merged(factors: Sequence[Factor]) -> Factors:
    """Join neighboring factors that are one longer factor; drop factors of size 1."""
    merged: list[Factor] = []
    for size, stride in factors:
        if size == 1:
            continue
        if merged and merged[-1][1] == size * stride:
            merged[-1] = (merged[-1][0] * size, stride)
        else:
            merged.append((size, stride))
    return tuple(merged)


def reshaped(order: Order, shape: Ints, target: Ints, like: Order | None = None) -> Order | None:
    """Return the order of a tensor whose canonical shape changes while its memory stays.

    Args:
        order: how the tensor is stored.
        shape: its canonical shape.
        target: the new canonical shape.
        like: an order of ``target`` to prefer where dimensions of size 1 leave a choice.

    Returns:
        None if no order describes it: the elements of one dimension are not contiguous.
    """
    dense = strides(target)
    axes = [axis for axis, size in enumerate(target) if size > 1]
    factors = _cut(walk(order, shape), [dense[axis] for axis in axes])
    if factors is None:
        return None
    groups: dict[int, list[Factor]] = {}
    last = -1
    for size, stride in factors:
        axis = next(a for a in axes if dense[a] <= stride)
        if axis in groups and axis != last:
            return None
        groups.setdefault(axis, []).append((size, stride // dense[axis]))
        last = axis
    perm = _with_units(tuple(groups), target, like)
    walks = {axis: _merged(factors) for axis, factors in groups.items()}
    return Order(perm, tuple((k, v) for k, v in sorted(walks.items()) if len(v) > 1))


def _cut(factors: Factors, boundaries: Sequence[int]) -> Factors | None:
    """Split the factors so that none reaches over a boundary stride; None if impossible."""
    pieces: list[Factor] = []
    for size, stride in factors:
        inside = sorted(b for b in boundaries if stride < b < size * stride)
        parts = [*pairwise((stride, *inside, size * stride))]
        if any(high % low for low, high in parts):
            return None
        pieces.extend((high // low, low) for low, high in reversed(parts))
    return tuple(pieces)


def _with_units(core: Ints, shape: Ints, like: Order | None) -> Ints:
    """Complete a permutation of the dimensions larger than 1 by those of size 1."""
    rank = len(shape)
    for candidate in (like, identity(rank), channels_last(rank)):
        if candidate and tuple(a for a in candidate.perm if shape[a] > 1) == core:
            return candidate.perm
    perm = list(core)
    for axis in (a for a in range(rank) if shape[a] == 1):
        perm.insert(perm.index(axis - 1) + 1 if axis else 0, axis)
    return tuple(perm)


def common_factors(source: Factors, target: Factors) -> tuple[Factors, Factors] | None:
    """Cut two walks over the same elements into the same factors; None if they interlock."""
    ends = {end for size, stride in (*source, *target) for end in (stride, size * stride)}
    left, right = _cut(source, [*ends]), _cut(target, [*ends])
    return None if left is None or right is None else (left, right)


def axis_elements(factors: Factors, size: int) -> npt.NDArray[np.intp]:
    """Return the canonical index of each stored element of an axis: ``here = there[elements]``."""
    elements = np.zeros(1, np.intp)
    for count, stride in factors or ((size, 1),):
        elements = np.add.outer(elements, np.arange(count, dtype=np.intp) * stride).ravel()
    return elements


def store(array: Array, order: Order) -> Array:
    """Put a canonical array into its stored order."""
    for axis, factors in order.shuffles:
        array = np.take(array, axis_elements(factors, array.shape[axis]), axis)
    return array if order.perm == tuple(range(array.ndim)) else array.transpose(order.perm)
