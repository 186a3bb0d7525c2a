"""Exchange two folders at once, where the system can."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h
_RENAME_SWAP = 2  # sys/stdio.h of macOS


def exchange(first: Path, second: Path) -> bool:
    """Give each of two existing paths the other's content; nobody sees anything in between.

    Returns:
        False if the system or the file system cannot: nothing has changed then.
    """
    one, other = os.fsencode(first), os.fsencode(second)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            return bool(library.renamex_np(one, other, _RENAME_SWAP) == 0)
        return bool(
            library.renameat2(_AT_FDCWD, one, _AT_FDCWD, other, ctypes.c_uint(_RENAME_EXCHANGE))
            == 0
        )
    except (AttributeError, OSError, TypeError):  # no such function, or no C library by that name
        return False
