"""Ctrl-C and SIGTERM: they end the process at once, and nothing half-written stays."""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import NoReturn

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
"""How a process ends that one of these signals has ended."""

WATCHMAN = "qhal-watchman"
"""Name of the thread that watches for signals; it holds no locks."""

_GRACE_S = 1.0
_LEAVING = threading.Lock()
_NO_SIGNAL = b"\0"


class Interrupted(KeyboardInterrupt):
    """A child was ended by Ctrl-C or SIGTERM.

    Attributes:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = signal.Signals(number)


def silently() -> None:
    """Say nothing at the end: the parent does."""


@contextmanager
def leaving(farewell: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the process at once, whatever it is doing.

    An exception would have to pass through the runtimes' C++ code and through destructors, where
    it is lost, wrapped in another one, or aborts the process.

    Args:
        farewell: called before the end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    leave = partial(_leave, farewell)
    before = {number: signal.signal(number, leave) for number in EXIT_CODES}
    try:
        with _watchman(farewell):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _watchman(farewell: Callable[[], None]) -> Iterator[None]:
    """Watch for signals in a thread while the main thread is deep in a runtime's code."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watchman = threading.Thread(target=_watch, args=(reader, farewell), name=WATCHMAN, daemon=True)
    try:
        with suppress(RuntimeError):  # no more threads: the main one has to do
            watchman.start()
        yield
    finally:
        signal.set_wakeup_fd(before)
        if watchman.ident is not None:
            os.write(writer, _NO_SIGNAL)  # closing is not enough: a child may hold it open
            watchman.join()
        os.close(writer)
        os.close(reader)


def _watch(reader: int, farewell: Callable[[], None]) -> None:
    while (number := os.read(reader, 1)) not in (b"", _NO_SIGNAL):
        if number[0] in EXIT_CODES:
            time.sleep(_GRACE_S)  # the main thread leaves by itself if it can
            _leave(farewell, number[0], None)


def _leave(farewell: Callable[[], None], number: int, frame: FrameType | None) -> NoReturn:
    """Remove what is half-written, which its owners registered for the exit, and end.

    The first thread that comes here does it. What the main thread was doing does not go on.
    """
    if not _LEAVING.acquire(blocking=False):
        while True:
            time.sleep(_GRACE_S)
    with suppress(ValueError):  # only the main thread may
        for other in EXIT_CODES:
            signal.signal(other, signal.SIG_IGN)
    farewell()
    atexit._run_exitfuncs()
    os._exit(EXIT_CODES[signal.Signals(number)])
