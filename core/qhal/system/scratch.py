"""Temporary folders that do not stay: not after an error, a signal, or a kill."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from qhal.errors import OutputError
from qhal.system.cleanup import Cleanup
from qhal.system.files import if_abandoned, locked_folder, remove_tree

_PREFIX = "qhal-tmp-"
_NAME = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}")


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a temporary folder for as long as the block lasts.

    It also goes when the process ends before the block does. What a killed process left is
    removed by the next one that needs a folder.

    Raises:
        OutputError: there is no place for it.
    """
    folder, lock = locked_folder(_new)
    remove = Cleanup(partial(_remove, folder, lock))
    try:
        sweep(folder.parent)
        yield folder
    finally:
        remove()


def _new() -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=_PREFIX))
    except OSError as error:
        raise OutputError(
            f"Cannot create a temporary folder: {error.strerror or error}.",
            "Set TMPDIR to a folder that you may write to.",
        ) from error


def _remove(folder: Path, lock: int | None) -> None:
    if lock is not None:
        with suppress(OSError):  # closed when the process began to end in the midst of this
            os.close(lock)  # first: removing a folder opens it
    remove_tree(folder)


def sweep(parent: Path | None = None) -> None:
    """Remove temporary folders that no living process holds, where they can be listed.

    Args:
        parent: the folder where they are; None for that of this process.
    """
    try:
        with os.scandir(parent or tempfile.gettempdir()) as entries:
            found = [Path(entry.path) for entry in entries if _NAME.fullmatch(entry.name)]
    except OSError:
        return
    for folder in found:
        with if_abandoned(folder) as abandoned:
            if abandoned:
                remove_tree(folder)
