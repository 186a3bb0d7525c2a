"""Names and seconds of the stages of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter


@dataclass
class Stages:
    """Times what happens inside ``with stages("name"):``; equal names add up.

    Attributes:
        timings_s: stage -> seconds, in order of first entry.
    """

    timings_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time a block."""
        started = perf_counter()
        try:
            yield
        finally:
            spent = perf_counter() - started
            self.timings_s[name] = self.timings_s.get(name, 0.0) + spent
