"""Temporary folders that do not stay: not after an error, a signal, or a kill."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qhal.errors import OutputError
from qhal.system.files import if_abandoned, try_lock

_PREFIX = "qhal-tmp-"
_TRIES = 5
_NAME = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}")


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a temporary folder for as long as the block lasts.

    It also goes when the process ends before the block does. What a killed process left is
    removed by the next one that needs a folder.

    Raises:
        OutputError: there is no place for it.
    """
    holder, lock = _locked()
    with holder as name:
        try:
            sweep(Path(name).parent)
            yield Path(name)
        finally:
            if lock is not None:
                os.close(lock)


def _locked() -> tuple[tempfile.TemporaryDirectory[str], int | None]:
    """Make a folder and lock it to show that it is in use; None where there are no locks.

    Another process that sweeps may see the folder before it is locked, and remove it.
    """
    for _ in range(_TRIES):
        holder = _new()
        if (lock := try_lock(Path(holder.name))) is not None:
            return holder, lock
        holder.cleanup()
    return _new(), None


def _new() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
    except OSError as error:
        raise OutputError(
            f"Cannot create a temporary folder: {error.strerror or error}.",
            "Set TMPDIR to a folder that you may write to.",
        ) from error


def sweep(parent: Path | None = None) -> None:
    """Remove temporary folders that no living process holds.

    Args:
        parent: the folder where they are; None for that of this process.
    """
    with os.scandir(parent or tempfile.gettempdir()) as entries:
        found = [Path(entry.path) for entry in entries if _NAME.fullmatch(entry.name)]
    for folder in found:
        with if_abandoned(folder) as abandoned:
            if abandoned:
                shutil.rmtree(folder, ignore_errors=True)
