"""Bounds on what data may take, so that absurd ones are refused before they fill the machine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from qhal.errors import DataFileError
from qhal.output import in_words, is_full_disk

MOST_SAMPLES = 10_000_000
"""More cannot be meant: their numbers alone would take 80 MB."""
MOST_SAMPLE_BYTES = 2 << 30
"""Of one sample; no ONNX file holds a larger tensor either."""
_SHARE = 2
"""One part in so many of the free space may be taken by temporary files."""


def check_samples(count: int, where: str) -> None:
    """Raise DataFileError if nobody could mean so many samples."""
    if count > MOST_SAMPLES:
        raise DataFileError(
            f"{where} has {count:,} samples; at most {MOST_SAMPLES:,} are taken.",
            "Give a part of them: some hundred calibrate well.",
        )


def check_sample_bytes(size: int, where: str) -> None:
    """Raise DataFileError if one sample is too large to be one."""
    if size > MOST_SAMPLE_BYTES:
        raise DataFileError(
            f"One sample of {where} has {size:,} bytes; at most {MOST_SAMPLE_BYTES:,} are taken.",
            "The first axis of an array counts the samples.",
        )


def temporary_file() -> IO[bytes]:
    """Open an anonymous temporary file; the caller closes it.

    Raises:
        DataFileError: there is no folder for it.
    """
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise DataFileError(
            f"No temporary file can be made: {error.strerror or error}.",
            "Set TMPDIR to a folder that you may write to.",
        ) from error


@contextmanager
def copying(what: str) -> Iterator[None]:
    """Say that the temporary copy of something found no room: its source is not to blame.

    Args:
        what: a noun phrase.

    Raises:
        OutputError: the disk, a quota or the limit of a file's size is exceeded.
    """
    try:
        yield
    except OSError as error:
        if not is_full_disk(error):
            raise
        raise in_words(error, f"a temporary copy of {what}") from error


def discard(file: IO[bytes]) -> None:
    """Close a temporary file, whose last bytes may find no room."""
    with suppress(OSError):
        file.close()


def temporary_room() -> int:
    """Bytes that temporary files may take."""
    return shutil.disk_usage(tempfile.gettempdir()).free // _SHARE
