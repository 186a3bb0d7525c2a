"""Work in a child process: a crash of native code ends as an error of the caller.

See docs/adr/0028-guarded-child.md for why there is one child for all the work of a call.
"""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import sys
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from mmap import mmap
from tempfile import TemporaryFile
from typing import IO, Any, NoReturn, TypeVar

from qhal.errors import CrashError, DataFileError, ModelInvalidError, QhalError, VerificationError
from qhal.progress import SILENT, Progress
from qhal.system.children import end_with, flush, leave
from qhal.system.forking import is_alone, may_fork
from qhal.system.polling import readable
from qhal.system.scratch import sweep
from qhal.system.shortage import MEMORY_HINT, out_of_memory
from qhal.system.signals import EXIT_CODES, Interrupted, leaving, silently
from qhal.system.trail import PAGE_BYTES, Activity, Kind, read, trail
from qhal.system.wire import NoWire, Receiver, Sender, Wire, tell_result

T = TypeVar("T")

IN_PROCESS = "QHAL_IN_PROCESS"
"""Environment variable: if it is set, work is not guarded, for a debugger or a profiler."""

_POLL_S = 0.1
_GRACE_S = 8.0
"""What a child may take to put things in order when it is to end."""
_CHUNK = 1 << 16
_UNKNOWN = -1
"""Status of a child that ended in a way that this process was not told."""

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
    *,
    by_value: bool = True,
) -> T:
    """Do work in a child process, whose crash is an error here; where there can be none, here.

    The child is a fork, which costs some milliseconds, or where threads could be hurt by it, a new
    process, which costs a second. It ends with this process. In a child, and where only a new
    process could do the work, but not load it (it holds a lambda, say) or not do the same (it holds
    functions of the caller's modules), the work is done in place.

    Args:
        work: takes the wire to the caller; its result can be pickled.
        progress: shows the progress of the work.
        receive: takes the values that the work sends before it is done.
        post_mortem: done in another child after a crash in the user's model: if it crashes too,
            the error tells at which of its activities.
        by_value: the work is all values, such as paths and arrays: it does not depend on what the
            caller's modules have become since their import.

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
    child = _start(work, by_value) if _wanted() else None
    if child is None:
        return _in_place(work, NoWire(progress, receive))
    receiver = Receiver(progress, receive)
    with _ended_with_this(child):
        try:
            _listen(child, receiver)
        finally:
            receiver.close()
        if receiver.ended:
            child.settle()
        else:
            child.wait()
    if receiver.declined:
        return _in_place(work, NoWire(progress, receive))
    if receiver.error is not None:
        raise receiver.error
    if not receiver.ended:
        with suppress(OSError):
            sweep()
        problem = _obituary(child.wait(), read(child.page))
        if post_mortem is not None and isinstance(problem, ModelInvalidError):
            problem = _with_step(problem, post_mortem, by_value)
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


# --- the child --------------------------------------------------------------------


@dataclass
class _Child:
    """A child that works.

    Attributes:
        pid: its number.
        reader: this end of its pipe.
        page: where it leaves its trail.
        status: how it ended, ``_UNKNOWN`` if somebody else was told; None while it may be alive.
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

    def settle(self) -> None:
        """Wait a short while for its end: its work is done, but it may put things in order."""
        deadline, pause = time.monotonic() + _GRACE_S, _POLL_S / 100
        while not self.poll() and time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(2 * pause, _POLL_S / 10)

    def poll(self, options: int = os.WNOHANG) -> bool:
        """Return True if it has ended."""
        if self.status is None:
            try:
                pid, status = os.waitpid(self.pid, options)
            except ChildProcessError:  # SIGCHLD is ignored, or somebody waits for any child
                pid, status = self.pid, _UNKNOWN
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


def _start(work: Callable[[Wire], object], by_value: bool) -> _Child | None:
    """Start a child that does the work; None if the system, or the work, lets none start."""
    try:
        reader, writer = os.pipe()
    except OSError:
        return None
    flush()
    child = _fork(work, reader, writer) if may_fork() else None
    if child is None and by_value:
        child = _spawn(work, reader, writer)
    os.close(writer)
    if child is None:
        os.close(reader)
    return child


def _nameless() -> IO[bytes]:
    """Open a file without a name: in memory where the system can, where a kill leaves nothing."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("qhal"), "w+b")
    return TemporaryFile()


def _spawn(work: Callable[[Wire], object], reader: int, writer: int) -> _Child | None:
    """Start a new process that does the work."""
    try:
        content = pickle.dumps(sys.path) + pickle.dumps(work)
        with _nameless() as shared, _nameless() as given:
            shared.truncate(PAGE_BYTES)
            given.write(content)
            given.seek(0)  # and write out what is buffered
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
    """Fork a child that does the work; None if there turn out to be threads that it could hurt."""
    page, parent = mmap(-1, PAGE_BYTES), os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, EXIT_CODES)
    try:
        with _Gate() as gate:
            with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                pid = os.fork()
            if pid == 0:
                os.close(reader)
                end_with(parent)
                gate.wait()
                _work(work, Sender(writer), page, before)
            child = _Child(pid, reader, page)
            atexit.register(child.end)  # before a signal can end this process
            if is_alone():
                gate.open()
                return child
        child.wait()
        atexit.unregister(child.end)
    except OSError:
        pass
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return None


class _Gate:
    """Where a fork waits until its parent has looked whether it may go on."""

    def __enter__(self) -> _Gate:
        self._reader, self._writer = os.pipe()
        return self

    def __exit__(self, *raised: object) -> None:
        os.close(self._reader)
        os.close(self._writer)

    def open(self) -> None:
        """Let the child go on."""
        os.write(self._writer, b"1")

    def wait(self) -> None:
        """Wait in the child, which ends if it may not go on."""
        os.close(self._writer)
        if not os.read(self._reader, 1):
            os._exit(0)
        os.close(self._reader)


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
        leave(code)


def _forget_exit_handlers() -> None:
    """Drop the exit handlers of the parent: they are not for this process to run."""
    atexit._clear()
    finalize: Any = weakref.finalize
    finalize._registry.clear()
    finalize._registered_with_atexit = False


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
        readable(child.reader, _POLL_S if alive else 0)
        try:
            content = os.read(child.reader, _CHUNK)
        except BlockingIOError:
            content = b""
        receiver.feed(content)
        if not content and not alive:
            return


def _obituary(status: int, activities: tuple[Activity, ...]) -> BaseException:
    """Say why a child ended without a last word."""
    meanwhile = " and ".join(dict.fromkeys(activity.words for activity in activities))
    if status == _UNKNOWN:
        return _crashed("The process ended without a result", meanwhile, activities)
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    code = 0 if number else os.waitstatus_to_exitcode(status)
    for told, ends in EXIT_CODES.items():
        if number == told or code == ends:
            return Interrupted(told)
    if number == signal.SIGKILL:
        return _killed(meanwhile)
    if number:
        named = f"{signal.Signals(number).name}, {signal.strsignal(number)}".lower()
        named = named[: named.index(",")].upper() + named[named.index(",") :]
        return _crashed(f"The process crashed ({named})", meanwhile, activities)
    return _crashed(f"Something ended the process (exit code {code})", meanwhile, activities)


def _with_step(
    error: ModelInvalidError, post_mortem: Callable[[Wire], object], by_value: bool
) -> QhalError:
    """Add to an error what a post-mortem finds out."""
    child = _start(post_mortem, by_value)
    if child is None:
        return error
    with _ended_with_this(child):
        _listen(child, receiver := Receiver(SILENT, lambda value: None))
        status = _UNKNOWN if receiver.ended else child.wait()
    if not _has_crashed(status) or not (activities := read(child.page)):
        return error
    again = f"It crashed again while {activities[0].words}."
    return ModelInvalidError(f"{error.message} {again}", error.hint)


def _has_crashed(status: int) -> bool:
    """Return True if a child ended by a fault of its own: nobody told it to, nor killed it."""
    if status == _UNKNOWN or not os.WIFSIGNALED(status):
        return False
    return os.WTERMSIG(status) not in {signal.SIGKILL, *EXIT_CODES}


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
