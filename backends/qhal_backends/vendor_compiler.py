"""Run a vendor's compiler in a folder of its own, with a time limit.

It runs in a process of its own. Compilers print to their file descriptors, hang, and crash: that
has to end in an error message, not in the end of qhal.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from qhal.system.children import NOT_STARTED, tied
from qhal.system.scratch import scratch


@dataclass(frozen=True)
class CompilerRun:
    """How a run of a compiler ended.

    Attributes:
        log: what it printed, first to stdout, then to stderr.
        code: its exit code, negative for a signal; None if it did not start or end.
        problem: why there is no code, a clause without its subject: ``did not end within 9 s``.
    """

    log: str
    code: int | None
    problem: str = ""

    @property
    def lines(self) -> list[str]:
        """What it printed, without empty lines."""
        return [line.strip() for line in self.log.splitlines() if line.strip()]

    def failure(self, said: str) -> str:
        """Say why there is no compiled file, a clause without a full stop.

        Args:
            said: the line of the log that explains most; empty if none does.
        """
        if self.code is None:
            return f"it {self.problem}"
        if self.code < 0:
            return f"it crashed with signal {-self.code}"
        quoted = f" and printed: {said.rstrip('.')}" if said else ""
        return f"it ended with exit code {self.code}{quoted}"


@contextmanager
def workspace(source: str, content: bytes) -> Iterator[Path]:
    """Make a temporary folder with the file that a compiler reads.

    Args:
        source: name of the file.
        content: of the file.
    """
    with scratch() as folder:
        (folder / source).write_bytes(content)
        yield folder


def run_compiler(
    command: Sequence[str], folder: Path, timeout_s: float, grace_s: float = 0
) -> CompilerRun:
    """Run a compiler and collect what it prints.

    Args:
        command: the program and its arguments.
        folder: where it runs.
        timeout_s: seconds after which it is too slow.
        grace_s: further seconds in which it may end by itself, if it knows its timeout.
    """
    try:
        done = subprocess.run(
            tied(command),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s + grace_s,
            check=False,
            cwd=folder,
        )
    except subprocess.TimeoutExpired:
        return CompilerRun("", None, f"did not end within {timeout_s} s")
    except OSError as error:
        return CompilerRun("", None, f"does not start: {error.strerror}")
    if done.returncode == NOT_STARTED:
        return CompilerRun("", None, f"does not start: {done.stderr.strip()}")
    return CompilerRun(done.stdout + done.stderr, done.returncode)
