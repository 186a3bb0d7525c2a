"""Whether a fork of this process can go on working: a lock that another thread holds stays locked.

The threads of NumPy's BLAS hurt none: they stop by themselves before a fork, and start again when
they are needed. How many of them there are is not known, since after a fork none may have started
again. So what is left is counted behind a fork, which waits for that.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from qhal.system.signals import WATCHMAN

_LAG_S = 0.1
"""So long the system may list a thread that has ended."""


def may_fork() -> bool:
    """Return True if a fork may work; :func:`is_alone`, after it, knows."""
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return False
    others = [t for t in threading.enumerate() if t is not threading.current_thread()]
    if any(thread.name != WATCHMAN for thread in others):
        return False
    return _native_threads() is not None


def is_alone() -> bool:
    """Return True if this process, which has just forked, has no threads but those of Python."""
    deadline = time.monotonic() + _LAG_S
    while (count := _native_threads()) is not None and count > threading.active_count():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LAG_S / 100)
    return count is not None


def _native_threads() -> int | None:
    """Count the threads of this process; None where the system does not list them."""
    try:
        return sum(1 for _ in Path("/proc/self/task").iterdir())
    except OSError:
        return None
