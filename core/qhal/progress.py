"""Progress of long stages: the library reports it, the caller decides how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]
"""Say that so many more units of the stage are done."""


class Progress(Protocol):
    """Somebody who shows progress.

    Example::

        with progress.stage("calibrate", total=len(samples)) as advance:
            for sample in samples:
                ...
                advance(1)
    """

    def stage(self, title: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Enter a stage of ``total`` units, or of unknown length if it is None."""
        ...


class Silent:
    """Shows nothing."""

    @contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Advance]:
        """Enter a stage."""
        yield lambda units: None


SILENT: Progress = Silent()
