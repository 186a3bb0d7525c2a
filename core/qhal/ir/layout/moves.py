"""Reshapes and Transposes that convert a tensor from one stored order to another."""

from __future__ import annotations

from itertools import pairwise
from math import prod

from qhal.ir import ops
from qhal.ir.layout.order import Factors, Order, common_factors, identity, strides, walk
from qhal.ir.ops import Ints, Op


def moves(source: Order, target: Order, shape: Ints) -> tuple[Op, ...]:
    """Find Reshapes and Transposes from ``source`` to ``target``; at least one.

    Args:
        source: how the tensor is stored.
        target: how it shall be stored.
        shape: its canonical shape.
    """
    before, after = walk(source, shape), walk(target, shape)
    if before == after:
        return (ops.Reshape(target.pick(shape)),)
    if not source.shuffles and not target.shuffles:
        return (ops.Transpose(tuple(source.position(axis) for axis in target.perm)),)
    factors = common_factors(before, after)
    if factors is None:  # the two shuffles interlock; each one can be undone by itself
        plain = identity(len(shape))
        return (*moves(source, plain, shape), *moves(plain, target, shape))
    return _through_blocks(*factors, source.pick(shape), target.pick(shape))


def collapsed(perm: Ints, shape: Ints) -> tuple[Op, ...]:
    """Write a Transpose of ``shape`` over the fewest dimensions, between Reshapes.

    Dimensions of size 1 vanish and those that stay neighbors become one: runtimes and
    hardware limit the rank of a Transpose.
    """
    dense = strides(shape)
    before = tuple((shape[axis], dense[axis]) for axis in range(len(shape)) if shape[axis] > 1)
    after = tuple((shape[axis], dense[axis]) for axis in perm if shape[axis] > 1)
    result = tuple(shape[axis] for axis in perm)
    if before == after:
        return (ops.Reshape(result),)
    return _through_blocks(before, after, shape, result)


def _through_blocks(before: Factors, after: Factors, stored: Ints, wanted: Ints) -> tuple[Op, ...]:
    """Transpose the fewest dimensions that distinguish both walks, between two Reshapes."""
    starts, sizes = _blocks(before, after)
    by_place = sorted(range(len(starts)), key=starts.__getitem__)
    opened = tuple(sizes[i] for i in by_place)
    closed = tuple(sizes)
    perm = tuple(by_place.index(i) for i in range(len(starts)))
    made: list[Op] = [ops.Transpose(perm)]
    if opened != stored:
        made.insert(0, ops.Reshape(opened))
    if closed != wanted:
        made.append(ops.Reshape(wanted))
    return tuple(made)


def _blocks(before: Factors, after: Factors) -> tuple[list[int], list[int]]:
    """Find runs of factors that both walks have in a row: places in ``before`` and sizes.

    Both lists are in the order of ``after``.
    """
    places = [before.index(factor) for factor in after]
    cuts = [i for i, (a, b) in enumerate(pairwise(places), start=1) if b != a + 1]
    runs = [*pairwise((0, *cuts, len(places)))]
    starts = [places[low] for low, _ in runs]
    return starts, [prod(size for size, _ in after[low:high]) for low, high in runs]
