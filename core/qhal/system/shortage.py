"""Exceptions that tell of a want of the machine: memory, open files, processes. Nobody's fault."""

from __future__ import annotations

import errno

from qhal.errors import LimitError, QhalError

_TEXTS = (
    ("Too many open files", errno.EMFILE),
    ("Error 24", errno.EMFILE),
    ("can't start new thread", errno.EAGAIN),
    ("cannot allocate memory", errno.ENOMEM),
    ("failed to map segment", errno.ENOMEM),
)
"""What loaders and threads say of these wants, in exceptions without a number."""


def shortage(error: BaseException) -> QhalError | None:
    """Make the error for a want of the machine, if an exception or its cause tells of one."""
    link: BaseException | None = error
    while link is not None:
        found = _of(link)
        if found is not None:
            found.__cause__ = error
            return found
        link = link.__cause__
    return None


def _of(error: BaseException) -> QhalError | None:
    if isinstance(error, MemoryError):
        return _out_of_memory(error)
    match _number(error):
        case errno.EMFILE | errno.ENFILE:
            return LimitError(
                "The system lets this process open no more files.",
                "Raise the limit of open files (ulimit -n).",
            )
        case errno.EAGAIN:
            return LimitError(
                "The system lets no more threads or processes start.",
                "Raise the limit of processes (ulimit -u), or end others.",
            )
        case errno.ENOMEM:
            return _out_of_memory(MemoryError(str(error)))
    return None


def _number(error: BaseException) -> int | None:
    """Return the system's number of a want, also where only the text tells it."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if not isinstance(error, ImportError | OSError | RuntimeError):
        return None
    text = str(error)
    return next((number for words, number in _TEXTS if words in text), None)


def _out_of_memory(error: MemoryError) -> QhalError:
    from qhal.system.wire import out_of_memory

    return out_of_memory(error)
