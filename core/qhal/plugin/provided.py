"""A backend together with who provides it: what the core calls, and whom errors name."""

from __future__ import annotations

from dataclasses import dataclass

from qhal.plugin.backend import Backend
from qhal.plugin.discovery import Provider
from qhal.plugin.info import BackendInfo


@dataclass(frozen=True, eq=False)
class Provided:
    """A backend, as a registry hands it out.

    Attributes:
        backend: the backend.
        provider: the plugin that provides it; None if no plugin does.
    """

    backend: Backend
    provider: Provider | None = None

    @property
    def info(self) -> BackendInfo:
        """What the backend says of itself."""
        return self.backend.info

    @property
    def name(self) -> str:
        """The backend and who provides it: ``backend 'cpu' of quant-hal 0.1.0``."""
        by = f" of {self._distribution}" if self.provider else ""
        return f"backend {self.info.name!r}{by}"

    @property
    def report_to(self) -> str:
        """Where to report a bug of the backend, as the hint of an error."""
        if self.provider is None:
            return "This is a bug in the backend; please report it."
        return f"This is a bug in {self._distribution}; please report it there."

    @property
    def _distribution(self) -> str:
        return f"{self.provider.distribution} {self.provider.version}" if self.provider else ""
