"""Processes that qhal starts: none of them outlives it, even if it is killed."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import _exit as end
from pathlib import Path
from typing import IO, NoReturn

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_SIGKILL = 9  # a name that Windows lacks
NOT_STARTED = 127
"""Exit code of a tied command whose program does not start, as shells have it; stderr says why."""

_TIE = f"""
import ctypes, os, sys
ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, {_SIGKILL})
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    os.write(2, str(error.strerror).encode())
    os._exit({NOT_STARTED})
"""


def tied(command: Sequence[str]) -> list[str]:
    """Build a command that the system kills as soon as the thread that starts it ends.

    On Linux; elsewhere it is the command as it is.

    Args:
        command: a program, found as shells find it, and its arguments.
    """
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _TIE, str(os.getpid()), *command]


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
        out: what it printed to stdout, until it was stopped if it took too long.
        err: the same of stderr.
        code: its exit code, negative for a signal; None if it did not start, or not end.
        problem: why there is no code, a clause without its subject: ``did not end within 9 s``.
    """

    out: str = ""
    err: str = ""
    code: int | None = None
    problem: str = ""

    def failure(self, said: str = "") -> str:
        """Say what went wrong, a clause without its subject and without a full stop.

        Args:
            said: the line of its output that explains most; empty if none does.
        """
        quoted = f" and printed: {said.rstrip('.')}" if said else ""
        if self.code is None:
            return self.problem + quoted
        if self.code < 0:
            return f"crashed with signal {-self.code}{quoted}"
        return f"ended with exit code {self.code}{quoted}"


def run_tied(
    command: Sequence[str],
    timeout_s: float,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run a program that ends with qhal, and wait for it; whatever happens is in the result.

    Args:
        command: a program, found on this process's PATH, and its arguments.
        timeout_s: seconds after which it is killed.
        folder: where it runs; None for the working folder.
        environment: all of its variables; None for those of this process.
    """
    program, *arguments = command
    if os.sep not in program:
        program = shutil.which(program) or program
    try:
        # Into files: a child of the program that lives on would keep the end of a pipe open.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            code, problem = _wait(
                subprocess.Popen(
                    tied([program, *arguments]),
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                ),
                timeout_s,
            )
            ended = Ended(_text(out), _text(err), code, problem)
    except OSError as error:
        return Ended(problem=f"does not start: {error.strerror or error}")
    if code == NOT_STARTED and sys.platform == "linux":
        return Ended(problem=f"does not start: {ended.err.strip()}")
    return ended


def _wait(process: subprocess.Popen[bytes], timeout_s: float) -> tuple[int | None, str]:
    try:
        return process.wait(timeout_s), ""
    except subprocess.TimeoutExpired:
        return None, f"did not end within {timeout_s:g} s"
    finally:
        process.kill()
        process.wait()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def end_with(parent: int) -> None:
    """Let this process, which runs Python, be killed as soon as its parent ends.

    Args:
        parent: number of the process that started it; if it is gone already, so is this one.
    """
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def leave(code: int) -> NoReturn:
    """End this process, a child that works, in good order, but wait for no thread.

    Args:
        code: its exit code.
    """
    with suppress(BaseException):
        atexit._run_exitfuncs()
    flush()
    end(code)


def flush() -> None:
    """Write what is still on its way to stdout and stderr."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, full, or not there
            stream.flush()
