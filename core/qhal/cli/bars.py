"""Progress bars: on stderr, on a terminal, and only for stages longer than two seconds."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from qhal.progress import SILENT, Advance, Progress

_DELAY_S = 2.0


def bars() -> Progress:
    """Return bars if stderr is a terminal."""
    return TerminalBars() if sys.stderr.isatty() else SILENT


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
