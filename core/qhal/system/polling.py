"""Waiting for a descriptor, whatever its number: ``select.select`` takes none above 1023."""

from __future__ import annotations

import select


def readable(descriptor: int, seconds: float | None) -> bool:
    """Wait until there is something to read, or nobody is left who could write.

    Args:
        descriptor: to read from.
        seconds: how long to wait; None for as long as it takes.
    """
    return _ready(descriptor, select.POLLIN, seconds)


def writable(descriptor: int) -> bool:
    """Return True if writing a line would not wait."""
    return _ready(descriptor, select.POLLOUT, 0)


def _ready(descriptor: int, event: int, seconds: float | None) -> bool:
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(None if seconds is None else 1000 * seconds))
