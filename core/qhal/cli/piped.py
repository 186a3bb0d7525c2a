"""A rich console for results that a program may read."""

from __future__ import annotations

from typing import NoReturn

from rich.console import Console


class PipedConsole(Console):
    """A console that leaves it to its caller what the end of the reader means."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise again what rich turns into an exit of the process with code 1."""
        raise BrokenPipeError
