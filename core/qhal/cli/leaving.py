"""How a signal ends the process: it cleans up first, within a deadline."""

from __future__ import annotations

import atexit
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import _exit as end
from types import FrameType

from qhal.errors import ExitCode

CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}

INTERRUPTED = "interrupted: nothing is left half-written"

_GRACE_S = 1.0
"""So long the main thread may take to leave by itself; it may be deep in a runtime's code."""
_PATIENCE_S = 10.0
"""So long the cleanup may take; it may wait for a lock that the interrupted thread holds."""
_ECHO_S = 0.3
"""Who ends a group of processes sends a signal twice at once; that is not a second wish."""

_LEAVING = threading.Lock()
_LEAVERS: list[int] = []
"""The thread that has the lock."""


@contextmanager
def signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the process at once, whatever it is doing.

    An exception would have to pass through the runtimes' C++ code and through destructors, where
    it is lost, wrapped in another one, or aborts the process. A second signal ends the process
    without a cleanup.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _leave) for number in CODES}
    try:
        with _watchman():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _watchman() -> Iterator[None]:
    """Watch for signals in a thread while the main thread is deep in a runtime's code."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watchman = threading.Thread(target=_watch, args=(reader,), daemon=True)
    try:
        with suppress(RuntimeError):  # no more threads: the main one has to do
            watchman.start()
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)
        if watchman.ident is not None:
            watchman.join()
        os.close(reader)


def _watch(reader: int) -> None:
    """Wait for a first signal, see that the process leaves, and end it if that takes too long."""
    number = _signal(reader, None)
    if number is None:
        return
    time.sleep(_ECHO_S)
    while _signal(reader, 0):
        pass
    again = _signal(reader, _GRACE_S - _ECHO_S)
    if not again:
        with suppress(RuntimeError):
            threading.Thread(target=_leave, args=(number, None), daemon=True).start()
        again = _signal(reader, _PATIENCE_S)
    how = "twice" if again else f"and the cleanup did not end in {_PATIENCE_S:g} s"
    _say(f"interrupted {how}: the next run there removes what is left half-written")
    end(CODES[signal.Signals(number)])


def _signal(reader: int, seconds: float | None) -> int | None:
    """Wait for a signal that ends the process; None if none comes in time, or can come."""
    while select.select([reader], [], [], seconds)[0]:
        number = os.read(reader, 1)
        if not number:  # the command is done
            time.sleep(seconds or 0)
            return None
        if number[0] in CODES:
            return number[0]
    return None


def _leave(number: int, frame: FrameType | None) -> None:
    """Remove what is half-written, which its owners registered for the exit, and end.

    The first thread that comes here does it. What the main thread was doing does not go on.
    """
    if not _LEAVING.acquire(blocking=False):
        if threading.get_ident() in _LEAVERS:
            return  # it is interrupted in its cleanup; the watchman knows whether to end at once
        while True:
            time.sleep(_GRACE_S)
    _LEAVERS.append(threading.get_ident())
    # Ends the process even if its cleanup lets no other thread run.
    signal.setitimer(signal.ITIMER_REAL, _GRACE_S + 2 * _PATIENCE_S)
    atexit._run_exitfuncs()
    _say(INTERRUPTED)
    end(CODES[signal.Signals(number)])


def _say(text: str) -> None:
    """Print a line, unless nobody takes it: then writing might never end."""
    with suppress(OSError, ValueError):
        if select.select([], [2], [], 0)[1]:
            cursor = b"\x1b[?25h" if os.isatty(2) else b""  # a progress bar may have hidden it
            os.write(2, cursor + text.encode() + b"\n")
