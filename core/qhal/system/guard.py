"""Work in a child process: a crash of native code ends as an error of the caller.

See docs/adr/0028-guarded-child.md for why there is one child for all the work of a call.
"""

from __future__ import annotations

import atexit
import os
import pickle
import select
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NoReturn, TypeVar

from qhal.errors import CrashError, DataFileError, ModelInvalidError, QhalError, VerificationError
from qhal.progress import SILENT, Progress
from qhal.system.children import end_with
from qhal.system.scratch import sweep
from qhal.system.signals import EXIT_CODES, WATCHMAN, Interrupted, leaving, silently
from qhal.system.trail import PAGE_BYTES, Activity, Kind, read, trail
from qhal.system.wire import MEMORY_HINT, NoWire, Receiver, Sender, Wire, out_of_memory, tell_result

T = TypeVar("T")

IN_PROCESS = "QHAL_IN_PROCESS"
"""Environment variable: if it is set, work is not guarded, for a debugger or a profiler."""

_POLL_S = 0.1
_GRACE_S = 8.0
"""What a child may take to put things in order when it is to end."""
_CHUNK = 1 << 16

_BEGIN = """
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from qhal.system.spawned import main
main(*map(int, sys.argv[1:]))
"""
"""The program of a new process: where it finds modules comes first on stdin, then the work."""


def guarded(
    work: Callable[[Wire], T],
    progress: Progress,
    receive: Callable[[Any], object] = lambda value: None,
    post_mortem: Callable[[Wire], object] | None = None,
) -> T:
    """Do work in a child process, whose crash is an error here; where there can be none, here.

    The child is a fork, which costs some milliseconds, or where threads could be hurt by it, a new
    process, which costs a second. It ends with this process. In a child, and where a new process
    could not load the work (it holds a lambda, say), the work is done in place.

    Args:
        work: takes the wire to the caller; its result can be pickled.
        progress: shows the progress of the work.
        receive: takes the values that the work sends before it is done.
        post_mortem: done in another child after a crash in the user's model: if it crashes too,
            the error tells at which of its activities.

    Returns:
        What the work returns.

    Raises:
        CrashError: the child crashed, or was ended from outside.
        ModelInvalidError: it crashed in what a runtime did with the user's model.
        VerificationError: it crashed in what a runtime did with an artifact.
        DataFileError: the user's own code ended it.
        Interrupted: the child was told to end.
        BaseException: what the work raises.
    """
    child = _start(work) if _wanted() else None
    if child is None:
        return _in_place(work, NoWire(progress, receive))
    receiver = Receiver(progress, receive)
    with _ended_with_this(child):
        try:
            _listen(child, receiver)
        finally:
            receiver.close()
        status = child.wait()
    if receiver.declined:
        return _in_place(work, NoWire(progress, receive))
    if receiver.error is not None:
        raise receiver.error
    if not receiver.ended:
        with suppress(OSError):
            sweep()
        problem = _obituary(status, read(child.page))
        if post_mortem is not None and isinstance(problem, ModelInvalidError):
            problem = _with_step(problem, post_mortem)
        raise problem
    return receiver.result  # type: ignore[no-any-return]


def _in_place(work: Callable[[Wire], T], wire: NoWire) -> T:
    try:
        return work(wire)
    except MemoryError as error:
        raise out_of_memory(error) from error


def _wanted() -> bool:
    """Return True if the work is not guarded already, and the system has what it takes."""
    if trail().watched or os.environ.get(IN_PROCESS):
        return False
    return hasattr(os, "posix_spawn")


def _may_fork() -> bool:
    """Return True if a fork of this process can go on working."""
    if sys.platform != "linux":
        return False
    if threading.current_thread() is not threading.main_thread():
        return False
    others = [t for t in threading.enumerate() if t is not threading.current_thread()]
    if any(thread.name != WATCHMAN for thread in others):
        return False
    return trail().alone or _native_threads() <= 1 + len(others) + _blas_threads()


def _native_threads() -> int:
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def _blas_threads() -> int:
    """Count the threads of BLAS pools, which stop by themselves before a fork."""
    if "numpy" not in sys.modules:
        return 0
    from threadpoolctl import threadpool_info

    pools = (pool for pool in threadpool_info() if pool["internal_api"] == "openblas")
    return sum(int(pool["num_threads"]) - 1 for pool in pools)


# --- the child --------------------------------------------------------------------


@dataclass
class _Child:
    """A child that works.

    Attributes:
        pid: its number.
        reader: this end of its pipe.
        page: where it leaves its trail.
        status: how it ended; None while it may be alive.
    """

    pid: int
    reader: int
    page: mmap
    status: int | None = None

    def wait(self) -> int:
        """Wait for its end and return its status."""
        while self.status is None:
            self.poll(0)
        return self.status

    def poll(self, options: int = os.WNOHANG) -> bool:
        """Return True if it has ended."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, options)
            self.status = status if pid else None
        return self.status is not None

    def end(self) -> None:
        """Tell it to end; if it does not, kill it."""
        with suppress(ProcessLookupError, ChildProcessError):
            deadline = time.monotonic() + _GRACE_S
            if not self.poll():
                os.kill(self.pid, signal.SIGTERM)
            while not self.poll():
                if time.monotonic() > deadline:
                    os.kill(self.pid, signal.SIGKILL)
                time.sleep(_POLL_S / 10)


def _start(work: Callable[[Wire], object]) -> _Child | None:
    """Start a child that does the work; None if the system, or the work, lets none start."""
    try:
        reader, writer = os.pipe()
    except OSError:
        return None
    _flush()
    child = (_fork if _may_fork() else _spawn)(work, reader, writer)
    os.close(writer)
    if child is None:
        os.close(reader)
    return child


def _spawn(work: Callable[[Wire], object], reader: int, writer: int) -> _Child | None:
    """Start a new process that does the work."""
    try:
        content = pickle.dumps(sys.path) + pickle.dumps(work)
        with TemporaryFile() as shared, TemporaryFile() as given:
            shared.truncate(PAGE_BYTES)
            given.write(content)
            given.seek(0)
            os.set_inheritable(writer, True)
            os.set_inheritable(shared.fileno(), True)
            numbers = map(str, (writer, shared.fileno(), os.getpid()))
            command = [sys.executable, "-c", _BEGIN, *numbers]
            stdin = (os.POSIX_SPAWN_DUP2, given.fileno(), 0)
            pid = os.posix_spawn(sys.executable, command, os.environ, file_actions=[stdin])
            page = mmap(shared.fileno(), PAGE_BYTES)
    except Exception:  # noqa: BLE001 - no room, no program, or what parts of the work raise
        return None
    child = _Child(pid, reader, page)
    atexit.register(child.end)
    return child


def _fork(work: Callable[[Wire], object], reader: int, writer: int) -> _Child | None:
    """Fork a child that does the work."""
    page, parent = mmap(-1, PAGE_BYTES), os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, EXIT_CODES)
    try:
        pid = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return None
    if pid == 0:
        os.close(reader)
        end_with(parent)
        _work(work, Sender(writer), page, before)
    child = _Child(pid, reader, page)
    atexit.register(child.end)  # before a signal can end this process
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return child


def _work(
    work: Callable[[Wire], object], sender: Sender, page: mmap, mask: set[int | signal.Signals]
) -> NoReturn:
    """Do the work in the child; the way out is always ``_exit``."""
    code = 1
    try:
        _forget_exit_handlers()
        trail().leave_in(page)
        signal.set_wakeup_fd(-1)
        for number in EXIT_CODES:
            signal.signal(number, signal.SIG_DFL)
        with leaving(silently):
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            tell_result(work, sender)
        code = 0
    finally:
        with suppress(BaseException):
            atexit._run_exitfuncs()
        _flush()
        os._exit(code)


def _forget_exit_handlers() -> None:
    """Drop the exit handlers of the parent: they are not for this process to run."""
    atexit._clear()
    finalize: Any = weakref.finalize
    finalize._registry.clear()
    finalize._registered_with_atexit = False


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, full, or not there
            stream.flush()


# --- the parent -------------------------------------------------------------------


@contextmanager
def _ended_with_this(child: _Child) -> Iterator[None]:
    """End the child if the block is left before the child has ended."""
    try:
        yield
    finally:
        child.end()
        atexit.unregister(child.end)
        os.close(child.reader)


def _listen(child: _Child, receiver: Receiver) -> None:
    """Take what the child tells until it has ended, or has said its last word.

    The pipe alone does not tell the end of a child: processes that it left may hold it open.
    """
    os.set_blocking(child.reader, False)
    while not receiver.ended:
        alive = not child.poll()
        select.select([child.reader], [], [], _POLL_S if alive else 0)
        try:
            content = os.read(child.reader, _CHUNK)
        except BlockingIOError:
            content = b""
        receiver.feed(content)
        if not content and not alive:
            return


def _obituary(status: int, activities: tuple[Activity, ...]) -> BaseException:
    """Say why a child ended without a last word."""
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    code = 0 if number else os.waitstatus_to_exitcode(status)
    for told, ends in EXIT_CODES.items():
        if number == told or code == ends:
            return Interrupted(told)
    meanwhile = " and ".join(dict.fromkeys(activity.words for activity in activities))
    if number == signal.SIGKILL:
        return _killed(meanwhile)
    if number:
        named = f"{signal.Signals(number).name}, {signal.strsignal(number)}".lower()
        named = named[: named.index(",")].upper() + named[named.index(",") :]
        return _crashed(f"The process crashed ({named})", meanwhile, activities)
    return _crashed(f"Something ended the process (exit code {code})", meanwhile, activities)


def _with_step(error: ModelInvalidError, post_mortem: Callable[[Wire], object]) -> QhalError:
    """Add to an error what a post-mortem finds out."""
    child = _start(post_mortem)
    if child is None:
        return error
    with _ended_with_this(child):
        _listen(child, Receiver(SILENT, lambda value: None))
        status = child.wait()
    if not os.WIFSIGNALED(status) or not (activities := read(child.page)):
        return error
    return ModelInvalidError(f"{error.message} It crashes when {activities[0].words}.", error.hint)


def _killed(meanwhile: str) -> CrashError:
    at = f" while {meanwhile}" if meanwhile else ""
    return CrashError(
        f"The system killed the process (SIGKILL){at}; most likely the memory ran out.",
        MEMORY_HINT,
    )


def _crashed(what: str, meanwhile: str, activities: tuple[Activity, ...]) -> QhalError:
    kinds = {activity.kind for activity in activities}
    for kind, (error, hint) in _ERRORS.items():
        if kind in kinds:
            return error(f"{what} while {meanwhile}.", hint)
    return CrashError(
        f"{what}{f' while {meanwhile}' if meanwhile else ''}.",
        "Please report it with the model and the command.",
    )


_ERRORS: dict[Kind, tuple[type[QhalError], str]] = {
    Kind.ARTIFACT: (
        VerificationError,
        "The runtime cannot be trusted with this artifact. Another recipe or target may do; "
        "please report it with the model.",
    ),
    Kind.DATA: (DataFileError, "The code that makes the data has to return or to raise."),
    Kind.MODEL: (
        ModelInvalidError,
        "The model makes the runtime crash, with or without qhal. "
        "onnx.checker.check_model(path, full_check=True) may say what is odd about it.",
    ),
}
