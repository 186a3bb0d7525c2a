"""What works on this machine, what does not, and how to fix it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Lack:
    """Something that this machine lacks.

    Attributes:
        why: what is lacking, a clause without a full stop: ``OpenVINO is not installed``.
        fix: the command, or where it is explained; empty where no command fixes it.
    """

    why: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.why}: {self.fix}" if self.fix else self.why


@dataclass(frozen=True)
class Readiness:
    """What a backend can do on this machine.

    Attributes:
        lower: what keeps it from writing artifacts; None if it can.
        run: what keeps it from running them; None if it can.
    """

    lower: Lack | None = None
    run: Lack | None = None
