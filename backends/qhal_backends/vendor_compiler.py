"""Run a vendor's compiler in a folder of its own, with a time limit.

It runs in a process of its own. Compilers print to their file descriptors, hang, and crash: that
has to end in an error message, not in the end of qhal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from qhal.plugin.backend import Artifact
from qhal.system.children import Ended, run_tied
from qhal.system.scratch import scratch


@dataclass(frozen=True)
class CompilerRun:
    """How a run of a compiler ended.

    Attributes:
        log: what it printed, first to stdout, then to stderr; until it was stopped, if it was.
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
        return f"it {Ended(code=self.code, problem=self.problem).failure(said)}"


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
    ended = run_tied(command, timeout_s + grace_s, folder=folder)
    return CompilerRun(ended.out + ended.err, ended.code, ended.problem)


def with_files(artifact: Artifact, written: Mapping[str, bytes], main: str) -> Artifact:
    """Add what a compiler wrote. All files but the main one become auxiliary.

    Args:
        artifact: what the compiler read.
        written: name -> content.
        main: the file that the device loads.
    """
    files = {**artifact.files, **written}
    return replace(artifact, files=files, main=main, auxiliary=frozenset(files) - {main})
