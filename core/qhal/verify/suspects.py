"""Remember the few evaluation samples that are most likely wrong, for the oracle to judge.

The oracle is too slow for all samples, and a runner may be right on the first ones only. What it
gave is kept, not asked for again: a call that went wrong once may go well the next time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from qhal.ir.graph import Array, Arrays

MOST_SUSPECTS = 4


@dataclass(frozen=True)
class Kept:
    """One output of one sample, as the runtime gave it.

    Attributes:
        sample: its number.
        output: its name.
        raw: in the artifact's own type.
        real: in the user's numbers.
        score: how bad it is, in the sense that it was kept for.
        share: its error over its signal.
    """

    sample: int
    output: str
    raw: Array
    real: Array
    score: float
    share: float


@dataclass
class Suspects:
    """Per output: what repeats though the float model's does not, and the largest errors.

    Memory is that of three samples' outputs, and of two hashes for each sample.
    """

    _kept: dict[tuple[int, str], Kept] = field(default_factory=dict)
    _seen: dict[tuple[str, bytes], bytes] = field(default_factory=dict)

    def add(self, sample: int, expected: Arrays, raw: Arrays, real: Arrays) -> None:
        """Take in one sample.

        Args:
            sample: its number.
            expected: the float model's outputs.
            raw: the runtime's, in the artifact's own types.
            real: the same in the user's numbers.
        """
        for name, reference in expected.items():
            noise, signal = _noise(reference, real[name])
            share = noise / signal if signal else noise
            scores = [noise, share]
            if self._repeats(name, reference, real[name]):
                scores.append(noise)
            for kind, score in enumerate(scores):
                best = self._kept.get((kind, name))
                if score > (best.score if best else 0.0):
                    copies = np.array(raw[name]), np.array(real[name])
                    self._kept[kind, name] = Kept(sample, name, *copies, score, share)

    def worst(self, most: int) -> Mapping[int, tuple[Kept, ...]]:
        """Choose at most so many samples: repeated outputs first, then the largest errors."""
        order = sorted(self._kept.items(), key=lambda item: (-item[0][0], -item[1].share))
        chosen = dict.fromkeys(kept.sample for _, kept in order)
        return {sample: self._of(sample) for sample in list(chosen)[:most]}

    def _of(self, sample: int) -> tuple[Kept, ...]:
        found = {kept.output: kept for kept in self._kept.values() if kept.sample == sample}
        return tuple(found.values())

    def _repeats(self, name: str, reference: Array, found: Array) -> bool:
        """Return True if an output is constant, or that of another sample, and float's is not."""
        expected = _digest(reference)
        known = self._seen.setdefault((name, _digest(found)), expected)
        return known != expected or (_is_constant(found) and not _is_constant(reference))


def _noise(reference: Array, found: Array) -> tuple[float, float]:
    """Sum the squared errors, and the squares of the reference; integers differ or do not."""
    if reference.dtype.kind != "f":
        return float(np.count_nonzero(reference != found)), float(reference.size)
    a, b = (x.astype(np.float64).ravel() for x in (reference, found))
    finite = np.isfinite(a) & np.isfinite(b)
    error = a[finite] - b[finite]
    return float(np.dot(error, error)), float(np.dot(a[finite], a[finite]))


def _digest(array: Array) -> bytes:
    return blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16).digest()


def _is_constant(array: Array) -> bool:
    return array.size > 1 and bool((array == array.flat[0]).all())
