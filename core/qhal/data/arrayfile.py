"""Arrays in ``.npy`` and ``.npz`` files, read sample by sample and never unpickled.

``numpy.load`` reads an array of an ``.npz`` as a whole, and pages of a memory map count as memory
of the process. Here a sample is read with one seek instead; a compressed array is first
decompressed, in pieces, into an anonymous temporary file.
"""

from __future__ import annotations

import lzma
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from io import BytesIO
from math import prod
from pathlib import Path
from shutil import copyfileobj
from threading import Lock
from typing import IO
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np

from qhal.data.room import check_sample_bytes, copying, discard, temporary_file, temporary_room
from qhal.errors import DataFileError, QhalError
from qhal.ir.graph import Array
from qhal.system.files import plain

_LOCAL_HEADER_BYTES = 30
_PIECE_BYTES = 1 << 20
_LONGEST_REASON = 200
_ENCRYPTED = 0x1
_DAMAGED = (
    BadZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    zlib.error,
    lzma.LZMAError,
)
"""What :mod:`zipfile` raises for files that are damaged, encrypted, or packed in other ways."""


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
    by_columns: bool

    @property
    def total_bytes(self) -> int:
        """Bytes of the header and of the elements that it announces."""
        return self.size_bytes + prod(self.shape) * self.dtype.itemsize


def open_npy(path: Path) -> StoredArray:
    """Open the array in a ``.npy`` file.

    Raises:
        DataFileError: the file is damaged, or of a kind that is not read.
    """
    with plain(path).open("rb") as file:
        header = _read_header(file, str(path))
    _check_rows(str(path), header)
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
        with ZipFile(plain(path)) as archive:
            infos = _members(archive, str(path))
            return {name: _member(path, archive, info) for name, info in infos.items()}
    except _DAMAGED as error:
        raise _no_npz(str(path), error) from error


def read_arrays(path: Path) -> dict[str, Array]:
    """All of a small ``.npy`` or ``.npz`` file; the array of the former has no name.

    Raises:
        DataFileError: the file is damaged, or of a kind that is not read.
        OSError: it cannot be read.
    """
    name, size = str(path), plain(path).stat().st_size
    check_sample_bytes(size, name)
    content = path.read_bytes()
    if not content.startswith(b"PK"):
        return {"": _array_in(content, name)}
    try:
        with ZipFile(BytesIO(content)) as archive:
            infos = _members(archive, name)
            check_sample_bytes(sum(info.file_size for info in infos.values()), name)
            return {key: _unpacked(archive, info, name) for key, info in infos.items()}
    except _DAMAGED as error:
        raise _no_npz(name, error) from error


def _unpacked(archive: ZipFile, info: ZipInfo, where: str) -> Array:
    return _array_in(archive.read(info), f"{info.filename!r} in {where}")


def _array_in(content: bytes, name: str) -> Array:
    header = _read_header(BytesIO(content), name)
    _check_size(name, header, len(content))
    flat = np.frombuffer(content, header.dtype, prod(header.shape), header.size_bytes)
    return flat.reshape(header.shape, order="F" if header.by_columns else "C").copy()


def _members(archive: ZipFile, name: str) -> dict[str, ZipInfo]:
    """Map the names of the arrays to their members.

    Raises:
        DataFileError: one is no array, is encrypted, or has the name of another one.
    """
    found: dict[str, ZipInfo] = {}
    for info in archive.infolist():
        where, key = f"{info.filename!r} in {name}", info.filename.removesuffix(".npy")
        if not info.filename.endswith(".npy"):
            raise DataFileError(f"{where} is not an array.", "Write the file with numpy.savez.")
        if info.flag_bits & _ENCRYPTED:
            raise DataFileError(f"{where} is encrypted.", "Write the file with numpy.savez.")
        if key in found:
            raise DataFileError(f"{where} is there twice.", "Write the file with numpy.savez.")
        found[key] = info
    return found


def _no_npz(name: str, error: Exception) -> DataFileError:
    sentence = f"{name} is not a readable .npz file: {_reason(error)}."
    return DataFileError(sentence, "Write it with numpy.savez.")


def _reason(error: Exception) -> str:
    """Quote the first words of what another library says about a file."""
    return _shortened(str(error)) or type(error).__name__


def _shortened(text: str) -> str:
    return " ".join(text.split()).rstrip(".")[:_LONGEST_REASON]


def _member(path: Path, archive: ZipFile, info: ZipInfo) -> StoredArray:
    name = f"{info.filename!r} in {path}"
    with archive.open(info) as stream:
        header = _read_header(stream, name)
    _check_rows(name, header)
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
    return plain(path).open("rb")


def _decompress(path: Path, member: str) -> IO[bytes]:
    """Unpack a member into a temporary file that vanishes when it is closed."""
    file = temporary_file()
    try:
        with ZipFile(path) as archive:
            _check_room(path, archive.getinfo(member))
            with archive.open(member) as packed, copying(f"{member!r} in {path}"):
                copyfileobj(packed, file, _PIECE_BYTES)
                file.flush()
    except (OSError, KeyError, *_DAMAGED) as error:
        discard(file)
        raise DataFileError(
            f"{member!r} in {path} cannot be unpacked: {_reason(error)}."
        ) from error
    except QhalError:
        discard(file)
        raise
    return file


def _check_room(path: Path, info: ZipInfo) -> None:
    if info.file_size > (room := temporary_room()):
        raise DataFileError(
            f"{info.filename!r} in {path} unpacks to {info.file_size:,} bytes; temporary files may "
            f"take {room:,} here.",
            "Set TMPDIR to a folder with more space, or write the file with numpy.savez.",
        )


def _read_header(stream: IO[bytes], name: str) -> _Header:
    try:
        version = np.lib.format.read_magic(stream)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in readers:
            raise ValueError(f"version {version[0]}.{version[1]} of .npy is not supported")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 2 wrote some headers in another way
            shape, by_columns, dtype = readers[version](stream)
        return _checked(name, shape, by_columns and len(shape) > 1, dtype, stream.tell())
    except DataFileError:
        raise
    # NumPy evaluates the header as Python text, so that any error of Python's parser comes up.
    except Exception as error:
        raise DataFileError(
            f"{name} is not a readable .npy array: {_reason(error)}.", "Write it with numpy.save."
        ) from error


def _checked(
    name: str, shape: tuple[int, ...], by_columns: bool, dtype: np.dtype[np.generic], size: int
) -> _Header:
    if dtype.hasobject:
        raise DataFileError(
            f"{name} holds pickled Python objects, which are never loaded.",
            "Save an array of numbers; samples of different shapes go into a folder of .npy files.",
        )
    if dtype.kind not in "biuf":
        raise DataFileError(
            f"{name} holds {_shortened(str(dtype))}, not numbers.", "Save an array of numbers."
        )
    if any(type(length) is not int or length < 0 for length in shape):
        raise ValueError(f"its shape is {_shortened(str(shape))}")
    return _Header(shape, dtype, size, by_columns)


def _check_rows(name: str, header: _Header) -> None:
    if header.by_columns:
        raise DataFileError(
            f"{name} is stored column by column, so that samples cannot be read one by one.",
            "Save numpy.ascontiguousarray(array).",
        )


def _check_size(name: str, header: _Header, size_bytes: int) -> None:
    check_sample_bytes(prod(header.shape[1:]) * header.dtype.itemsize, name)
    if header.total_bytes > size_bytes:
        raise DataFileError(
            f"{name} declares shape {header.shape} of {header.dtype} "
            f"({header.total_bytes:,} bytes), but has {size_bytes:,} bytes.",
            "The file is truncated or damaged; write it again.",
        )
