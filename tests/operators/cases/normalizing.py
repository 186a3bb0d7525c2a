"""Cases of normalizations and losses, and of newer operators made from several."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from tests.operators.cases.case import Case, Fed, Operand, Shape, floats, scalar


def normalizing() -> Iterator[Case]:
    """Yield the cases."""
    yield from _batches()
    yield from _groups()
    yield from _layers()
    yield from _attention()
    yield from _signals()


def _batches() -> Iterator[Case]:
    for shape, epsilon in product(((2, 3), (2, 3, 5), (2, 3, 4, 5), (1, 3, 2, 3, 4)), (1e-5, 0.1)):
        positive = np.abs(floats(3)) + 0.5
        operands: tuple[Operand, ...] = (shape, floats(3), floats(3), floats(3), positive)
        yield Case("BatchNormalization", operands, {"epsilon": epsilon}, since=7)
    computed = ((2, 3, 4), (3,), (3,), (3,), Fed(np.abs(floats(3)) + 0.5))
    yield Case("BatchNormalization", computed, since=9)
    for shape, epsilon in product(((2, 3, 5), (2, 3, 4, 5)), (1e-5, 0.1)):
        yield Case("InstanceNormalization", (shape, floats(3), floats(3)), {"epsilon": epsilon}, 7)
    yield Case("InstanceNormalization", ((2, 3, 5), (3,), (3,)), since=7)
    for across, normalize in product((0, 1), (0, 1)):
        given = {"axes": [0, 2, 3] if across else [2, 3]}
        if normalize:
            yield Case("MeanVarianceNormalization", ((2, 3, 4, 5),), given, since=9)
    yield Case("MeanVarianceNormalization", ((2, 3, 4, 5),), since=9)
    for axis, p in product((0, 1, -1), (1, 2)):
        yield Case("LpNormalization", ((2, 3, 4),), {"axis": axis, "p": p}, since=7)


def _groups() -> Iterator[Case]:
    for shape, groups, epsilon in product(((2, 6, 5), (2, 6, 3, 4)), (1, 2, 6), (1e-5, 0.1)):
        given = {"num_groups": groups, "epsilon": epsilon}
        operands = (shape, floats(groups), floats(groups))
        yield Case("GroupNormalization", operands, given, since=18, until=20)
        yield Case("GroupNormalization", (shape, floats(6), floats(6)), given, since=21)


def _layers() -> Iterator[Case]:
    shapes: tuple[Shape, ...] = ((3, 5), (2, 3, 4), (2, 3, 4, 5))
    for shape, axis in product(shapes, (-1, -2, 1)):
        scale = floats(*shape[axis:])
        given = {"axis": axis, "epsilon": 1e-3}
        yield Case("LayerNormalization", (shape, scale, floats(*shape[axis:])), given, since=17)
        yield Case("LayerNormalization", (shape, scale), given, since=17)
        yield Case("RMSNormalization", (shape, scale), given, since=23)
    for stash in (0, 1):
        operands = ((2, 3, 4), floats(4), floats(4))
        yield Case("LayerNormalization", operands, {"stash_type": stash}, since=17)
    yield Case("LayerNormalization", ((2, 3, 4), floats(4)), since=17, results=("y", "m", "v"))
    yield Case("LayerNormalization", ((2, 3, 4), floats(3, 4)), since=17, label="spread")
    yield Case("LayerNormalization", ((2, 3, 4), (4,), (4,)), since=17, label="computed")


def _attention() -> Iterator[Case]:
    four = (2, 3, 4, 8)
    for causal, scale, cap in product((0, 1), (None, 0.3), (0.0, 2.0)):
        given = {"is_causal": causal, "softcap": cap, **({} if scale is None else {"scale": scale})}
        yield Case("Attention", (four, four, four), given, since=23)
    yield Case("Attention", (four, four, four, floats(4, 4)), {}, since=23)
    flags = np.tri(4, dtype=np.bool_)
    yield Case("Attention", (four, four, four, flags), {}, since=23)
    grouped = {"q_num_heads": 4, "kv_num_heads": 2}
    yield Case("Attention", ((2, 4, 32), (2, 4, 16), (2, 4, 16)), grouped, since=23)
    caches = (floats(6, 4), floats(6, 4))
    for interleaved in (0, 1):
        places = Fed(np.array([[0, 1, 2, 3], [2, 3, 4, 5]], np.int64))
        given = {"interleaved": interleaved}
        yield Case("RotaryEmbedding", (four, *caches, places), given, since=23)


def _signals() -> Iterator[Case]:
    operands: tuple[Operand, ...]
    for onesided in (0, 1):
        operands = ((1, 8, 1), None, scalar(1, np.int64))
        yield Case("DFT", operands, {"onesided": onesided}, since=20)
        yield Case("DFT", ((1, 8, 1),), {"onesided": onesided, "axis": 1}, since=17, until=19)
        window = (np.abs(floats(8)), scalar(8, np.int64))
        stft = ((1, 16, 1), scalar(4, np.int64), *window)
        yield Case("STFT", stft, {"onesided": onesided}, since=17)
    yield Case("DFT", ((1, 8, 2), None, scalar(1, np.int64)), {"inverse": 1}, since=20)
    labels = Fed(np.array([0, 2], np.int64))
    for reduction in ("none", "mean", "sum"):
        operands = ((2, 3), labels)
        yield Case("SoftmaxCrossEntropyLoss", operands, {"reduction": reduction}, since=12)
        yield Case("NegativeLogLikelihoodLoss", operands, {"reduction": reduction}, since=12)
