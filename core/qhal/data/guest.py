"""The user's code inside qhal: what it does to the process is undone, what it raises is reported.

A function that makes samples may exit, print, change the folder, import a neighbor when it is
called, switch NumPy's errors on, or come back twice, in a copy of the process that it forked.
None of it may change what the rest of a run does.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from os import _exit as end
from threading import RLock
from typing import NoReturn

import numpy as np

from qhal.errors import DataFileError, QhalError, in_one_line
from qhal.system.trail import Kind, doing

_ONE_AT_A_TIME = RLock()
"""The working folder, the path and the output are the whole process's."""


@dataclass
class Guest:
    """The user's code behind one source of samples.

    Attributes:
        name: what the user called it.
        home: the folder where qhal was called, which modules are looked for in; None if it is gone.
        folder: where the code left the process; it is there again when it goes on.
        inside: True while it runs.
    """

    name: str
    home: str | None
    folder: str | None
    inside: bool = False

    @classmethod
    def called(cls, name: str) -> Guest:
        """Code that starts in the working folder."""
        folder = _working_folder()
        return cls(name, folder, folder)

    @contextmanager
    def runs(self) -> Iterator[None]:
        """Enter for as long as the user's code runs.

        Raises:
            DataFileError: it raised something, an exit included; the original is its cause.
        """
        if self.inside:
            with only_here():
                yield
            return
        try:
            with ExitStack() as undo:
                undo.enter_context(_ONE_AT_A_TIME)
                undo.enter_context(doing(Kind.DATA, f"{self.name} ran"))
                undo.enter_context(redirect_stdout(sys.stderr))  # stdout is for results
                undo.enter_context(_no_end())
                undo.enter_context(np.errstate())
                undo.enter_context(warnings.catch_warnings())
                undo.enter_context(_importable(self.home))
                undo.enter_context(self._in_its_folder())
                with only_here():
                    yield
        except (KeyboardInterrupt, MemoryError, QhalError):
            raise
        except BaseException as error:
            raise DataFileError(f"{self.name} fails: {_told(error)}.") from error

    @contextmanager
    def _in_its_folder(self) -> Iterator[None]:
        before, self.inside = _working_folder(), True
        if self.folder != before:
            _change_to(self.folder)
        try:
            yield
        finally:
            self.folder, self.inside = _working_folder(), False
            if self.folder != before:
                _change_to(before)


@contextmanager
def only_here() -> Iterator[None]:
    """End copies of the process that the code forked as soon as they leave the block.

    Two that go on would both deploy. The limit of recursion is what it was, too: what undoes the
    rest needs some calls.
    """
    owner, limit, code = os.getpid(), sys.getrecursionlimit(), 1
    try:
        yield
        code = 0
    finally:
        sys.setrecursionlimit(limit)
        if os.getpid() != owner:
            end(code)


@contextmanager
def _no_end() -> Iterator[None]:
    """Turn ``os._exit`` in this process into an exception: it would end a run with any code.

    A copy of the process that the code forks may still end so, and what kept the function may call
    it later, such as an exit handler. What C code does stays as it is.
    """
    owner, really, over = os.getpid(), os._exit, False

    def refuse(status: int) -> NoReturn:
        if over or os.getpid() != owner:
            really(status)
        raise SystemExit(status)

    os._exit = refuse
    try:
        yield
    finally:
        over = True
        if os._exit is refuse:
            os._exit = really


def _told(error: BaseException) -> str:
    """Put the exception in one line."""
    if isinstance(error, SystemExit):
        return f"it ends the process (SystemExit: {error.code!r})"
    return in_one_line(error).rstrip(".")


def _working_folder() -> str | None:
    with suppress(OSError):
        return os.getcwd()  # noqa: PTH109 - it is compared as text
    return None


def _change_to(folder: str | None) -> None:
    if folder is not None:
        with suppress(OSError):
            os.chdir(folder)


@contextmanager
def _importable(folder: str | None) -> Iterator[None]:
    """Let modules be found in a folder, as ``python -m`` does."""
    if folder is None or folder in sys.path or "" in sys.path:
        yield
        return
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with suppress(ValueError):  # the code took it out itself
            sys.path.remove(folder)
