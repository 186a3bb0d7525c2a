"""One command of qhal in a forked child: everything is imported already, nothing was run."""

from __future__ import annotations

import atexit
import faulthandler
import io
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

GRACE_S = 2.0
"""How long the children of a command that has ended may take to notice."""


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code; None if a signal ended it.
        signal: name of that signal.
        timed_out: it was ended because it took too long.
        seconds: how long it ran.
        stdout: what it printed.
        stderr: what it complained.
        children: processes of it that were still alive, and were then ended.
    """

    code: int | None
    signal: str
    timed_out: bool
    seconds: float
    stdout: str
    stderr: str
    children: tuple[str, ...] = ()


@dataclass(frozen=True)
class Surroundings:
    """Where a command runs.

    Attributes:
        folder: its working folder.
        logs: the folder for what it prints.
        env: environment variables.
        timeout_s: how long it may take.
        memory_bytes: how much address space it may take.
        before: called in the child, just before the command.
    """

    folder: Path
    logs: Path
    env: Mapping[str, str]
    timeout_s: float = 30.0
    memory_bytes: int = 8 << 30
    before: Callable[[], None] | None = None


def run(argv: Sequence[str], where: Surroundings, kill: tuple[float, int] | None = None) -> Ended:
    """Run ``qhal`` with these arguments and wait for its end.

    Args:
        argv: the arguments.
        where: its surroundings.
        kill: send this signal after that many seconds.
    """
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _child(argv, where)
    descriptor = os.pidfd_open(pid)
    try:
        timed_out = not _wait(descriptor, pid, where.timeout_s, kill)
    finally:
        os.close(descriptor)
    if timed_out:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    seconds = time.monotonic() - began
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return Ended(
        code=None if number else os.waitstatus_to_exitcode(status),
        signal=signal.Signals(number).name if number else "",
        timed_out=timed_out,
        seconds=seconds,
        stdout=(where.logs / "stdout").read_text(encoding="utf-8", errors="replace"),
        stderr=(where.logs / "stderr").read_text(encoding="utf-8", errors="replace"),
        children=_children_left(pid),
    )


def _wait(descriptor: int, pid: int, timeout_s: float, kill: tuple[float, int] | None) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if kill is not None:
        after_s, number = kill
        if poll.poll(1e3 * after_s):
            return True
        os.kill(pid, number)
        timeout_s -= after_s
    return bool(poll.poll(1e3 * timeout_s))


def _child(argv: Sequence[str], where: Surroundings) -> NoReturn:
    """Become the command; the way out is always ``_exit``."""
    code = 99
    try:
        os.setsid()
        os.chdir(where.folder)
        _streams(where.logs)
        os.environ.update(where.env)
        sys.argv = ["qhal", *argv]
        tempfile.tempdir = None
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (where.memory_bytes, where.memory_bytes))
        _forget_exit_handlers()
        faulthandler.enable()
        faulthandler.dump_traceback_later(max(1.0, where.timeout_s - 2.0), exit=False)
        if where.before is not None:
            where.before()
        code = _main(argv)
    except BaseException:  # noqa: BLE001 - as the interpreter does it
        code = 1
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(BaseException):
                stream.flush()
        os._exit(code)


def _forget_exit_handlers() -> None:
    """Drop the exit handlers of the parent: they are not for this process to run."""
    atexit._clear()
    finalize: Any = weakref.finalize
    finalize._registry.clear()
    finalize._registered_with_atexit = False


def _main(argv: Sequence[str]) -> int:
    from qhal.cli.main import main

    try:
        return main(list(argv))
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1


def _streams(logs: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(logs / name, flags, 0o644), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout = io.TextIOWrapper(
        io.FileIO(1, "w", closefd=False), encoding="utf-8", write_through=True
    )
    sys.stderr = io.TextIOWrapper(
        io.FileIO(2, "w", closefd=False), encoding="utf-8", write_through=True
    )


def _children_left(session: int) -> tuple[str, ...]:
    """End what still runs in the command's session after a moment, and list it."""
    until = time.monotonic() + GRACE_S
    while (found := _of_session(session)) and time.monotonic() < until:
        time.sleep(0.05)
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return tuple(found.values())


def _of_session(session: int) -> dict[int, str]:
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError, ValueError, IndexError):
            rest = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if int(rest[3]) == session and rest[0] not in "ZX":
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(entry.name)] = line.decode(errors="replace").strip()
    return found
