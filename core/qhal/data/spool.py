"""Arrays kept in a temporary file, so that several readers need not make them twice.

Decoding an image and running the float model cost more than reading the result back; memory stays
flat however many samples there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO

import numpy as np

from qhal.data.room import copying, discard, temporary_file
from qhal.ir.graph import Array

LIMIT_BYTES = 2 << 30
"""What does not fit is made again at each request."""


@dataclass(frozen=True)
class _Place:
    offset: int
    dtype: str
    shape: tuple[int, ...]


@dataclass
class Spool:
    """Remembers named arrays per sample, until the ``with`` block that it is used in ends.

    Attributes:
        limit_bytes: size that the file may reach.
    """

    limit_bytes: int = LIMIT_BYTES
    _file: IO[bytes] = field(default_factory=temporary_file, repr=False)
    _places: dict[int, dict[str, _Place]] = field(default_factory=dict, repr=False)
    _used: int = 0

    def __enter__(self) -> Spool:
        """Return the spool, whose file exists already; leaving the block removes it."""
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the file."""
        discard(self._file)

    def get(self, index: int, make: Callable[[], Mapping[str, Array]]) -> dict[str, Array]:
        """Return the arrays of one sample; make them at first, and later while there is no room."""
        if index in self._places:
            return {name: self._read(place) for name, place in self._places[index].items()}
        arrays = {name: np.asarray(a, order="C") for name, a in make().items()}
        if self._used + sum(a.nbytes for a in arrays.values()) <= self.limit_bytes:
            self._places[index] = {name: self._write(a) for name, a in arrays.items()}
        return arrays

    def _write(self, array: Array) -> _Place:
        place = _Place(self._used, array.dtype.str, array.shape)
        with copying("samples and their results"):
            self._file.seek(place.offset)
            self._file.write(array.tobytes())
            self._file.flush()
        self._used += array.nbytes
        return place

    def _read(self, place: _Place) -> Array:
        self._file.seek(place.offset)
        array = np.empty(place.shape, place.dtype)
        self._file.readinto(array.reshape(-1).view(np.uint8).data)  # type: ignore[attr-defined]
        return array
