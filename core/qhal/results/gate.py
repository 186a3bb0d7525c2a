"""A limit of the user, as records hold it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gate:
    """A limit that the user set, and whether it was met.

    Attributes:
        name: the option, such as ``max-drop``.
        sentence: what was asked and what was found.
        passed: True if it was met.
    """

    name: str
    sentence: str
    passed: bool
