"""Processes that qhal starts: none of them outlives it, even if it is killed."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

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
