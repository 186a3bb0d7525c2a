"""What a backend can prepare on this machine on request, such as an emulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qhal.plugin.readiness import Lack
from qhal.progress import Progress


@dataclass(frozen=True)
class Setup:
    """Something that ``qhal setup NAME`` prepares.

    Attributes:
        name: what the command takes.
        title: one line for people.
        missing: returns what keeps it from being ready; None if it is ready. Cheap.
        run: prepare it; returns one sentence that says what is there now. May be run again:
            it continues where it was interrupted, and does nothing where all is done. Raises
            MissingDependencyError where the machine lacks something, and leaves nothing
            half-made that :attr:`missing` would take for whole.
        optional: True if the targets work without it; `qhal doctor` then notes that it is
            missing, and does not fail.
    """

    name: str
    title: str
    missing: Callable[[], Lack | None]
    run: Callable[[Progress], str]
    optional: bool = False
