"""What a backend says of itself, before any of its methods is called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from qhal.errors import PluginError

API_VERSION = 1

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
NAMING = "Use lowercase letters, digits, '.', '_' and '-'."
"""How backends and targets may be named."""


def is_name(name: object) -> bool:
    """Return True if a backend or target may have this name."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


@dataclass(frozen=True)
class BackendInfo:
    """What a backend says of itself.

    Attributes:
        name: what the profile of a target names as its ``backend``.
        api_version: version of the plugin interface that the backend was written for.
        lowers_float: False if ``lower`` takes no plain float model; there is no baseline to
            measure then.
        runner_macs_per_s: about how fast the runner is where it is slow, such as a
            microcontroller's interpreter: verification then takes fewer samples. None if it can
            take all.
        options: keys of a profile's options that the backend reads, so that a mistyped one is
            found; None if it does not say.
        packages: what it imports besides qhal: top-level module -> distribution. Their versions
            are in the records; where one is not installed, the error names the extra of the
            plugin's distribution that provides it.
    """

    name: str
    api_version: int = API_VERSION
    lowers_float: bool = True
    runner_macs_per_s: float | None = None
    options: frozenset[str] | None = None
    packages: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Refuse what the core could not use.

        Raises:
            PluginError: a field has a value that is not allowed.
        """
        if not is_name(self.name):
            raise PluginError(f"A backend has the invalid name {self.name!r}.", NAMING)
        if not _are_texts(self.packages):
            raise self._odd(
                "packages", 'Map modules to distributions in BackendInfo: {"npu_sdk": "npu-sdk"}.'
            )
        if self.options is not None and not _is_set_of_texts(self.options):
            raise self._odd("options", "Give a frozenset of keys, or None.")
        if self.runner_macs_per_s is not None and not _is_positive(self.runner_macs_per_s):
            raise self._odd("runner_macs_per_s", "Give a number above 0, or None.")

    def _odd(self, attribute: str, hint: str) -> PluginError:
        stated = getattr(self, attribute)
        return PluginError(
            f"Backend {self.name!r} has an invalid value for {attribute}: {stated!r:.60}.", hint
        )


def _are_texts(packages: Any) -> bool:
    return isinstance(packages, Mapping) and all(
        isinstance(text, str) for pair in packages.items() for text in pair
    )


def _is_set_of_texts(options: Any) -> bool:
    return isinstance(options, frozenset) and all(isinstance(key, str) for key in options)


def _is_positive(rate: Any) -> bool:
    return isinstance(rate, int | float) and isfinite(rate) and rate > 0
