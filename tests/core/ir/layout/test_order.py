"""Orders: what NumPy does is what they say."""

from __future__ import annotations

from math import prod
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from qhal.ir import ops
from qhal.ir.layout.moves import collapsed, moves
from qhal.ir.layout.order import Order, channels_last, identity, reshaped, store, walk

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=5).map(tuple)
RANDOMS = st.integers(0, 1 << 30).map(Random)


def canonical(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(prod(shape)).reshape(shape)


def any_order(random: Random, shape: tuple[int, ...]) -> Order:
    """A random permutation, with shuffles where a random reshape of it has some."""
    order = Order(tuple(random.sample(range(len(shape)), len(shape))))
    axis = random.randrange(len(shape))
    if shape[axis] == 4 and random.random() < 0.7:
        return order.shuffled(axis, ((2, 1), (2, 2)))
    return order


def apply(steps: tuple[ops.Op, ...], array: np.ndarray) -> np.ndarray:
    for op in steps:
        match op:
            case ops.Reshape(shape):
                array = array.reshape(shape)
            case ops.Transpose(perm):
                array = array.transpose(perm)
    return array


@given(shape=SHAPES, random=RANDOMS)
def test_the_walk_is_the_memory(shape: tuple[int, ...], random: Random) -> None:
    order = any_order(random, shape)
    steps = walk(order, shape)
    memory = np.zeros(1, int)
    for size, stride in steps:
        memory = np.add.outer(memory, np.arange(size) * stride).ravel()
    np.testing.assert_array_equal(store(canonical(shape), order).ravel(), memory)


@settings(max_examples=300)
@given(shape=SHAPES, random=RANDOMS)
def test_reshaped_keeps_the_memory(shape: tuple[int, ...], random: Random) -> None:
    order = any_order(random, shape)
    target: list[int] = []
    rest = prod(shape)
    while rest > 1 and len(target) < 4:
        target.append(random.choice([d for d in range(1, rest + 1) if rest % d == 0]))
        rest //= target[-1]
    new = (*target, rest)
    made = reshaped(order, shape, new)
    if made is not None:
        before, after = store(canonical(shape), order), store(canonical(new), made)
        np.testing.assert_array_equal(before.ravel(), after.ravel())
    elif order.is_identity:
        raise AssertionError("the canonical order is always described")


@settings(max_examples=300)
@given(shape=SHAPES, random=RANDOMS)
def test_moves_bring_one_order_into_another(shape: tuple[int, ...], random: Random) -> None:
    source, target = any_order(random, shape), any_order(random, shape)
    moved = apply(moves(source, target, shape), store(canonical(shape), source))
    np.testing.assert_array_equal(moved, store(canonical(shape), target))


@given(shape=SHAPES, random=RANDOMS)
def test_collapsed_transposes(shape: tuple[int, ...], random: Random) -> None:
    perm = tuple(random.sample(range(len(shape)), len(shape)))
    moved = apply(collapsed(perm, shape), canonical(shape))
    np.testing.assert_array_equal(moved, canonical(shape).transpose(perm))


def test_flattening_channels_last_is_a_shuffle() -> None:
    made = reshaped(channels_last(4), (1, 3, 2, 2), (1, 12))
    assert made == Order((0, 1), ((1, ((4, 1), (3, 4))),))
    assert reshaped(channels_last(4), (1, 3, 1, 1), (1, 3)) == identity(2)


def test_a_head_keeps_its_memory() -> None:
    made = reshaped(channels_last(4), (1, 85, 4, 4), (1, 85, 16))
    assert made == Order((0, 2, 1))


def test_interlocked_shuffles_are_undone_first() -> None:
    a, b = (Order((0,), ((0, f),)) for f in (((3, 1), (4, 3)), ((4, 1), (3, 4))))
    found = apply(moves(a, b, (12,)), store(canonical((12,)), a))
    np.testing.assert_array_equal(found, store(canonical((12,)), b))
