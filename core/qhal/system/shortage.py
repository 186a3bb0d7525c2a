"""Exceptions that tell of a want of the machine: memory, open files, processes. Nobody's fault."""

from __future__ import annotations

import errno
import re

from qhal.errors import LimitError, OutOfMemoryError, QhalError, text_of

_TEXTS = (
    (r"too many open files", errno.EMFILE),
    (r"\berror 24\b", errno.EMFILE),
    (r"can't start new thread", errno.EAGAIN),
    (r"cannot allocate memory(?! in static TLS block)", errno.ENOMEM),
    (r"failed to map segment", errno.ENOMEM),
)
"""What loaders and threads say of these wants, in exceptions without a number.

Static TLS is a place of a fixed size that libraries share: more memory does not help.
"""

_STARTERS = re.compile(r"subprocess|multiprocessing\..*")
"""Modules whose calls the system answers with EAGAIN where it lets no process start.

That number has other meanings: what does not wait has nothing to read, no room, or no lock.
"""


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
        return out_of_memory(error)
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
            return out_of_memory(MemoryError(text_of(error)))
    return None


def _number(error: BaseException) -> int | None:
    """Return the system's number of a want, also where only the text tells it."""
    if isinstance(error, OSError) and error.errno is not None:
        wanting = error.errno != errno.EAGAIN or _starts_a_process(error)
        return error.errno if wanting else None
    if not isinstance(error, ImportError | OSError | RuntimeError):
        return None
    text = text_of(error)
    return next((number for words, number in _TEXTS if re.search(words, text, re.I)), None)


def _starts_a_process(error: OSError) -> bool:
    """Return True if the call that failed is one that starts a process."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    module = "" if step is None else str(step.tb_frame.f_globals.get("__name__"))
    return _STARTERS.fullmatch(module) is not None


def out_of_memory(error: MemoryError) -> OutOfMemoryError:
    """Say what an exception for want of memory means."""
    words = next(iter(getattr(error, "__notes__", ())), "")
    found = OutOfMemoryError(
        f"There is not enough memory{f'; meanwhile, {words}' if words else ''}.", MEMORY_HINT
    )
    found.__cause__ = error
    return found


MEMORY_HINT = (
    "Give fewer samples with --calib-samples and --eval-samples, raise the limit (ulimit -v), "
    "or run it where more memory is free."
)
