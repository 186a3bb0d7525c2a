"""Progress bars: on stderr, on a terminal, and only for stages longer than two seconds."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from qhal.cli.console import to_stderr
from qhal.progress import SILENT, Advance, Progress

_DELAY_S = 2.0


MANY = 100_000
"""Samples from which on a log tells how many there are."""


def bars() -> Progress:
    """Return bars if stderr is a terminal, else lines for what takes very long."""
    return TerminalBars() if sys.stderr.isatty() else LongStages()


class LongStages:
    """Prints a line for a stage over very many samples, and nothing else."""

    @contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Advance]:
        """Enter a stage."""
        if total is not None and total >= MANY:
            to_stderr(f"{title}: {total:,} samples; --eval-samples takes fewer\n")
        with SILENT.stage(title, total) as advance:
            yield advance


class TerminalBars:
    """Draws one bar per long stage; a stage that ends sooner is never seen."""

    @contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Advance]:
        """Enter a stage."""
        from rich.console import Console
        from rich.progress import Progress as RichProgress

        bar = RichProgress(console=Console(stderr=True), transient=True)
        task = bar.add_task(title, total=total)
        timer = threading.Timer(_DELAY_S, bar.start)
        timer.daemon = True
        timer.start()
        try:
            yield lambda units: bar.advance(task, units)
        finally:
            timer.cancel()
            timer.join()
            if bar.live.is_started:
                bar.stop()
