"""Guarded work in processes that have threads, many files, or no say over their children."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from qhal.errors import VerificationError
from qhal.progress import SILENT
from qhal.system.guard import guarded
from qhal.system.trail import Kind
from qhal.system.wire import Wire
from tests.core.system.alone import alone
from tests.core.system.test_guard import crash

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks")

Way = Callable[[], None]

GIVEN: list[str] = []
"""State of this module, which a fork has and a new process lacks."""


def way(prepare: Way) -> str:
    """Prepare this process, and say how it does guarded work."""
    GIVEN.append("here")
    prepare()
    pid, given = guarded(state, SILENT)
    return "in place" if pid == os.getpid() else "fork" if given else "spawn"


def state(wire: Wire) -> tuple[int, list[str]]:
    return os.getpid(), GIVEN


def leave_as_is() -> None:
    """A process with one thread."""


def multiply() -> None:
    """A process whose BLAS has computed, so that it has its threads."""
    product = np.ones((600, 600)) @ np.ones((600, 600))
    assert product[0, 0] == 600


def start_thread() -> None:
    threading.Thread(target=threading.Event().wait, daemon=True).start()


def start_native_thread() -> None:
    """Start a thread that Python knows nothing of, as runtimes do."""
    library, number = ctypes.CDLL(None), ctypes.c_ulong()
    assert library.pthread_create(ctypes.byref(number), None, library.pause, None) == 0


def lose_blas_threads() -> None:
    """Start one after the threads of BLAS, which still counts them, have stopped."""
    multiply()
    if not (child := os.fork()):
        os._exit(0)
    os.waitpid(child, 0)
    start_native_thread()


def hide_threads() -> None:
    """Let the system not list the threads, as without /proc."""
    real = Path.iterdir

    def iterdir(self: Path) -> Iterator[Path]:
        if str(self).startswith("/proc"):
            raise FileNotFoundError(self)
        return real(self)

    Path.iterdir = iterdir  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (leave_as_is, "fork"),
        (multiply, "fork"),
        (start_thread, "spawn"),
        (start_native_thread, "spawn"),
        (lose_blas_threads, "spawn"),
        (hide_threads, "spawn"),
    ],
)
def test_threads_are_not_forked(prepare: Way, expected: str) -> None:
    """A thread that holds a lock while another one forks leaves it locked for ever."""
    assert alone(way, prepare) == expected


def ignore_children() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def reap_children() -> None:
    """Wait for any child, as some servers do."""

    def reap(number: int, frame: object) -> None:
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    return
            except ChildProcessError:
                return

    signal.signal(signal.SIGCHLD, reap)


def open_many_files() -> None:
    import resource

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most not in (resource.RLIM_INFINITY, -1) and most < 1200:
        pytest.skip("the system allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1200, most))
    for _ in range(1100):
        os.open(os.devnull, os.O_RDONLY)


@pytest.mark.parametrize("also", [leave_as_is, start_thread])
@pytest.mark.parametrize("prepare", [ignore_children, reap_children, open_many_files])
def test_a_result_arrives_in_any_process(prepare: Way, also: Way) -> None:
    expected = "fork" if also is leave_as_is else "spawn"
    assert alone(way, partial(both, prepare, also)) == expected


def both(first: Way, second: Way) -> None:
    first()
    second()


def crash_unseen() -> None:
    ignore_children()
    guarded(partial(crash, Kind.ARTIFACT), SILENT)


def test_a_crash_is_told_even_if_its_status_is_not() -> None:
    with pytest.raises(VerificationError, match=r"without a result while toy 1\.0 ran model\.toy"):
        alone(crash_unseen)
