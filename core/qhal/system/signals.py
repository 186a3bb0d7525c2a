"""How Ctrl-C and SIGTERM end a process: it cleans up first, within a deadline."""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from os import _exit as end
from types import FrameType

from qhal.errors import ExitCode
from qhal.system.polling import readable, writable

EXIT_CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}
"""How a process ends that one of these signals has ended."""

INTERRUPTED = "interrupted: nothing is left half-written"

WATCHMAN = "qhal-watchman"
"""Name of the thread that watches for signals; it holds no locks."""

Farewell = Callable[[str], object]
"""Gets the last words of a process."""

_GRACE_S = 1.0
"""So long the main thread may take to leave by itself; it may be deep in a runtime's code."""
_PATIENCE_S = 10.0
"""So long the cleanup may take; it may wait for a lock that the interrupted thread holds."""
_ECHO_S = 0.3
"""Who ends a group of processes sends a signal twice at once; that is not a second wish."""

_NO_SIGNAL = b"\0"


class Interrupted(KeyboardInterrupt):
    """A child was ended by Ctrl-C or SIGTERM.

    Attributes:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = signal.Signals(number)


def say(text: str) -> None:
    """Print a line to stderr, unless nobody takes it: then writing might never end."""
    with suppress(OSError, ValueError):
        if writable(2):
            cursor = b"\x1b[?25h" if os.isatty(2) else b""  # a progress bar may have hidden it
            os.write(2, cursor + text.encode() + b"\n")


def silently(text: str) -> None:
    """Say nothing at the end: the parent does."""


@contextmanager
def leaving(farewell: Farewell) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the process at once, whatever it is doing.

    An exception would have to pass through the runtimes' C++ code and through destructors, where
    it is lost, wrapped in another one, or aborts the process. A second signal ends the process
    without a cleanup.

    Args:
        farewell: is given the last words.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    leave = _Leave(farewell)
    before = {number: signal.signal(number, leave) for number in EXIT_CODES}
    try:
        with _watchman(leave):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _watchman(leave: _Leave) -> Iterator[None]:
    """Watch for signals in a thread while the main thread is deep in a runtime's code."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watchman = threading.Thread(target=_watch, args=(reader, leave), name=WATCHMAN, daemon=True)
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


def _watch(reader: int, leave: _Leave) -> None:
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
            threading.Thread(target=leave, args=(number, None), name=WATCHMAN, daemon=True).start()
        again = _signal(reader, _PATIENCE_S)
    how = "twice" if again else f"and the cleanup did not end in {_PATIENCE_S:g} s"
    leave.farewell(f"interrupted {how}: the next run there removes what is left half-written")
    end(EXIT_CODES[signal.Signals(number)])


def _signal(reader: int, seconds: float | None) -> int | None:
    """Wait for a signal that ends the process; None if none comes in time, or can come."""
    while readable(reader, seconds):
        number = os.read(reader, 1)
        if number in (b"", _NO_SIGNAL):  # the command is done
            time.sleep(seconds or 0)
            return None
        if number[0] in EXIT_CODES:
            return number[0]
    return None


class _Leave:
    """Removes what is half-written, which its owners registered for the exit, and ends the process.

    The first thread that calls it does it. What the main thread was doing does not go on.

    Attributes:
        farewell: is given the last words.
    """

    def __init__(self, farewell: Farewell) -> None:
        self.farewell = farewell
        self._lock = threading.Lock()
        self._leaver: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """End the process; a handler of signals."""
        if not self._lock.acquire(blocking=False):
            if threading.get_ident() == self._leaver:
                return  # interrupted in its cleanup; the watchman knows whether to end at once
            while True:
                time.sleep(_GRACE_S)
        self._leaver = threading.get_ident()
        # Ends the process even if its cleanup lets no other thread run.
        signal.setitimer(signal.ITIMER_REAL, _GRACE_S + 2 * _PATIENCE_S)
        atexit._run_exitfuncs()
        self.farewell(INTERRUPTED)
        end(EXIT_CODES[signal.Signals(number)])
