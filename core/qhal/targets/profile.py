"""Target profiles: the data of one device. Every number has a source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

RUNS_ON = "runs_on"
"""The option that the core reads: ``host`` if the target is the machine that qhal runs on."""


@dataclass(frozen=True)
class Sourced:
    """A number with its unit and where it comes from."""

    value: float
    unit: str
    source: str

    def __str__(self) -> str:
        number = f"{self.value:,.10g}"
        return number if self.unit == "1" else f"{number} {self.unit}"


@dataclass(frozen=True)
class TargetProfile:
    """One device.

    Attributes:
        name: what ``--target`` takes.
        backend: name of the backend that serves it.
        title: one line for people.
        family: heading in ``qhal targets``.
        facts: key -> number, such as ``clock_hz``, ``active_power_w``, ``sram_bytes``.
        options: settings that only the backend reads.
        origin: the file or distribution that the profile comes from.
    """

    name: str
    backend: str
    title: str
    family: str = ""
    facts: Mapping[str, Sourced] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""
