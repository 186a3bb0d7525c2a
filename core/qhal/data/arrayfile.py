"""Arrays in ``.npy`` and ``.npz`` files, read sample by sample and never unpickled.

``numpy.load`` reads an array of an ``.npz`` as a whole, and pages of a memory map count as memory
of the process. Here a sample is read with one seek instead; a compressed array is first
decompressed, in pieces, into an anonymous temporary file.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from math import prod
from pathlib import Path
from shutil import copyfileobj
from threading import Lock
from typing import IO
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np

from qhal.errors import DataFileError
from qhal.ir.graph import Array

_LOCAL_HEADER_BYTES = 30
_PIECE_BYTES = 1 << 20


@dataclass(eq=False)
class StoredArray:
    """An array in a file; its first axis counts the samples.

    Attributes:
        name: what it is called in messages.
        open: opens the file that holds the plain bytes; called once, when first needed.
        offset: where the elements begin.
        shape: shape, the sample axis first.
        dtype: type of the elements.
    """

    name: str
    open: Callable[[], IO[bytes]]
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    _lock: Lock = field(default_factory=Lock, repr=False)

    @cached_property
    def _file(self) -> IO[bytes]:
        return self.open()

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return prod(self.shape[1:]) * self.dtype.itemsize

    def __getitem__(self, index: int) -> Array:
        """Return one sample, as an array of its own."""
        return self._read(index * self.sample_bytes, self.shape[1:])

    def whole(self) -> Array:
        """Read all of it; for small arrays such as labels."""
        return self._read(0, self.shape)

    def close(self) -> None:
        """Close the file, if it was opened."""
        if "_file" in self.__dict__:
            self._file.close()

    def __del__(self) -> None:
        self.close()

    def _read(self, start: int, shape: tuple[int, ...]) -> Array:
        buffer = bytearray(prod(shape) * self.dtype.itemsize)
        try:
            with self._lock:
                self._file.seek(self.offset + start)
                taken = self._file.readinto(buffer)  # type: ignore[attr-defined]
        except OSError as error:
            raise DataFileError(f"{self.name} cannot be read: {error}.") from error
        if taken != len(buffer):
            raise DataFileError(f"{self.name} is truncated.", "Write the file again.")
        return np.frombuffer(buffer, self.dtype).reshape(shape)


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    size_bytes: int

    @property
    def total_bytes(self) -> int:
        """Bytes of the header and of the elements that it announces."""
        return self.size_bytes + prod(self.shape) * self.dtype.itemsize


def open_npy(path: Path) -> StoredArray:
    """Open the array in a ``.npy`` file.

    Raises:
        DataFileError: the file is damaged, or of a kind that is not read.
    """
    with path.open("rb") as file:
        header = _read_header(file, str(path))
    _check_size(str(path), header, path.stat().st_size)
    return StoredArray(
        str(path), partial(_open, path), header.size_bytes, header.shape, header.dtype
    )


def open_npz(path: Path) -> dict[str, StoredArray]:
    """Open the arrays in an ``.npz`` file, by name.

    Raises:
        DataFileError: the file is damaged, or holds something else than plain arrays.
    """
    try:
        with ZipFile(path) as archive:
            return {
                info.filename.removesuffix(".npy"): _member(path, archive, info)
                for info in archive.infolist()
            }
    except (BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise DataFileError(
            f"{path} is not a readable .npz file: {error}.", "Write it with numpy.savez."
        ) from error


def _member(path: Path, archive: ZipFile, info: ZipInfo) -> StoredArray:
    name = f"{info.filename!r} in {path}"
    if not info.filename.endswith(".npy"):
        raise DataFileError(f"{name} is not an array.", "Write the file with numpy.savez.")
    with archive.open(info) as stream:
        header = _read_header(stream, name)
    _check_size(name, header, info.file_size)
    if info.compress_type == ZIP_STORED:
        start, opener = _data_offset(path, info), partial(_open, path)
    else:
        start, opener = 0, partial(_decompress, path, info.filename)
    return StoredArray(name, opener, start + header.size_bytes, header.shape, header.dtype)


def _data_offset(path: Path, info: ZipInfo) -> int:
    """Find where a member's bytes begin: after its local header, which repeats name and extras."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        local = file.read(_LOCAL_HEADER_BYTES)
    if len(local) < _LOCAL_HEADER_BYTES:
        raise BadZipFile("a local header is truncated")
    variable = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    return info.header_offset + _LOCAL_HEADER_BYTES + variable


def _open(path: Path) -> IO[bytes]:
    return path.open("rb")


def _decompress(path: Path, member: str) -> IO[bytes]:
    """Unpack a member into a temporary file that vanishes when it is closed."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  (the array owns and closes it)
    try:
        with ZipFile(path) as archive, archive.open(member) as packed:
            copyfileobj(packed, file, _PIECE_BYTES)
    except (OSError, BadZipFile, EOFError, zlib.error) as error:
        file.close()
        raise DataFileError(f"{member!r} in {path} cannot be unpacked: {error}.") from error
    return file


def _read_header(stream: IO[bytes], name: str) -> _Header:
    try:
        version = np.lib.format.read_magic(stream)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        shape, fortran_order, dtype = readers[version](stream)
    except (ValueError, KeyError, EOFError) as error:
        raise DataFileError(
            f"{name} is not a readable .npy array: {error}.", "Write it with numpy.save."
        ) from error
    _check_kind(name, dtype, fortran_order and len(shape) > 1)
    return _Header(tuple(shape), dtype, stream.tell())


def _check_kind(name: str, dtype: np.dtype[np.generic], fortran_order: bool) -> None:
    if dtype.hasobject:
        raise DataFileError(
            f"{name} holds pickled Python objects, which are never loaded.",
            "Save an array of numbers; samples of different shapes go into a folder of .npy files.",
        )
    if dtype.kind not in "biuf":
        raise DataFileError(f"{name} holds {dtype}, not numbers.", "Save an array of numbers.")
    if fortran_order:
        raise DataFileError(
            f"{name} is stored column by column, so that samples cannot be read one by one.",
            "Save numpy.ascontiguousarray(array).",
        )


def _check_size(name: str, header: _Header, size_bytes: int) -> None:
    if min(header.shape, default=0) < 0 or header.total_bytes > size_bytes:
        raise DataFileError(
            f"{name} declares shape {header.shape} of {header.dtype} "
            f"({header.total_bytes:,} bytes), but has {size_bytes:,} bytes.",
            "The file is truncated or damaged; write it again.",
        )
