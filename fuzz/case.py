"""What a case is: files in a folder, and the commands that read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from zlib import crc32

import numpy as np

Random = np.random.Generator
T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """One call of qhal, in the case's folder.

    Attributes:
        argv: the arguments.
        out: the output folder that it writes; empty if it writes none.
        same_as: a folder whose artifact it has to make again; None if that does not matter.
    """

    argv: tuple[str, ...]
    out: str = ""
    same_as: Path | None = None


@dataclass(frozen=True)
class Case:
    """A few commands, in order.

    Attributes:
        steps: the commands.
        what: what was done to valid input, for people.
        env: environment variables of the commands.
    """

    steps: tuple[Step, ...]
    what: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Base:
    """Good input to start from, made once by a run of its own.

    Attributes:
        model: an ONNX file.
        data: calibration data that fit it.
        folders: target -> an output folder of that model.
        cache: statistics that this run left.
    """

    model: Path
    data: Path
    folders: Mapping[str, Path]
    cache: Path


Maker = Callable[[Random, Path, Base], Case]
"""Writes the files of a case into a folder."""


def random_of(family: str, seed: int, number: int) -> Random:
    """Make the random generator of a case: the same for the same family, seed and number."""
    return np.random.default_rng([crc32(family.encode()), seed, number])


def pick(random: Random, choices: Sequence[T]) -> T:
    """Pick one of several, all equally likely."""
    return choices[int(random.integers(len(choices)))]


def often(random: Random, share: float) -> bool:
    """Return True in that share of all cases."""
    return bool(random.random() < share)
