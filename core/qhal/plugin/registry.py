"""The registry: which backends and targets there are, and what is wrong with the others."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from qhal.decisions import Code, Decision, Severity
from qhal.errors import CatalogError, MissingDependencyError, UnknownTargetError
from qhal.plugin.backend import Backend
from qhal.plugin.discovery import Found, Problem, Provider, discover
from qhal.plugin.provided import Provided
from qhal.targets import catalog
from qhal.targets.naming import suggestions
from qhal.targets.profile import RUNS_ON, TargetProfile

__all__ = ["Problem", "Provider", "Registry", "given_or_installed", "registry"]

_NEAR = 0.8
"""How alike a key and a misspelled one are: ``flash_bytes`` and ``flsh_bytes``."""


@dataclass(frozen=True)
class Registry:
    """Backends and targets that are installed here.

    Attributes:
        backends: by name.
        targets: by name: qhal's catalog, then plugins', then the user's own file.
        providers: the plugins that were loaded.
        backend_providers: backend name -> the plugin that provides it.
        problems: plugins, or parts of them, that are not used, and why.
        facts: keys of the facts that devices of qhal's catalog and of plugins have.
    """

    backends: Mapping[str, Backend]
    targets: Mapping[str, TargetProfile]
    providers: tuple[Provider, ...] = ()
    backend_providers: Mapping[str, Provider] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    facts: frozenset[str] = frozenset()

    def profile(self, name: str) -> TargetProfile:
        """Return the profile of a target, whether or not its backend is there.

        Raises:
            UnknownTargetError: no target has this name; the hint lists near names and the
                plugins that could not be used.
        """
        if name not in self.targets:
            raise UnknownTargetError(f"There is no target {name!r}.", self._hint(name))
        return self.targets[name]

    def resolve(self, name: str) -> tuple[Backend, TargetProfile]:
        """Return the backend and the profile of a target.

        Raises:
            UnknownTargetError: as :meth:`profile`.
            MissingDependencyError: the backend is not installed.
            CatalogError: the profile has an option that the backend does not read.
        """
        profile = self.profile(name)
        if profile.backend not in self.backends:
            raise self.lacks_backend(profile)
        backend = self.backends[profile.backend]
        _check_options(profile, backend)
        return backend, profile

    def doubts(self, profile: TargetProfile) -> tuple[Decision, ...]:
        """Warn of facts that look misspelled; any key is allowed, so this is not an error."""
        return tuple(
            Decision(
                Code.FACT_UNKNOWN,
                f"{profile.origin}: no other device has a fact {key}; it may be misspelled. "
                f"Did you mean {near[0]}?",
                severity=Severity.WARNING,
            )
            for key in sorted(profile.facts.keys() - self.facts)
            if (near := difflib.get_close_matches(key, sorted(self.facts), 1, _NEAR))
        )

    def lacks_backend(self, profile: TargetProfile) -> MissingDependencyError:
        """Make the error for a target whose backend is missing."""
        return MissingDependencyError(
            f"The target {profile.name!r} ({profile.origin}) needs the backend "
            f"{profile.backend!r}, which is not installed.",
            self._blame(profile.backend) or f"Installed backends: {_listed(self.backends)}.",
        )

    def backend(self, name: str) -> Backend:
        """Return a backend by its own name, as records give it.

        Raises:
            MissingDependencyError: it is not installed.
        """
        if name not in self.backends:
            raise MissingDependencyError(
                f"The backend {name!r} is not installed.",
                self._blame(name) or f"Installed backends: {_listed(self.backends)}.",
            )
        return self.backends[name]

    @property
    def packages(self) -> tuple[str, ...]:
        """Distributions that the backends run on."""
        stated = (backend.info.packages.values() for backend in self.backends.values())
        return tuple(dict.fromkeys(name for names in stated for name in names))

    def provided(self, name: str) -> Provided:
        """Return a backend with who provides it.

        Raises:
            MissingDependencyError: as :meth:`backend`.
        """
        return Provided(self.backend(name), self.backend_providers.get(name))

    def _hint(self, name: str) -> str:
        near = suggestions(name, self.targets)
        parts = [f"Did you mean {' or '.join(near)}?"] if near else []
        parts.append(f"Known targets: {_listed(self.targets)}.")
        return "\n".join(filter(None, [" ".join(parts), self._blame(name)]))

    def _blame(self, name: str) -> str:
        """List the broken plugins that would provide a name, else all broken ones."""
        guilty = [p for p in self.problems if name in p.lost] or self.problems
        return "\n".join(f"A plugin is not used: {problem}" for problem in guilty)


@cache
def _plugins() -> Found:
    return discover(reserved=catalog.builtin())


def registry(targets_file: str | Path | None = None) -> Registry:
    """Return the registry of this process; plugins are loaded once, at the first call.

    Args:
        targets_file: a ``targets.toml`` of the user; without it the one in the working folder.

    Raises:
        CatalogError: the user's file is missing or malformed.
    """
    found = _plugins()
    targets = {**catalog.builtin(), **found.targets}
    facts = frozenset(key for profile in targets.values() for key in profile.facts)
    path = catalog.user_file(targets_file)
    if path is not None:
        targets.update(catalog.read(path, targets))
    return Registry(
        backends=found.backends,
        targets={name: _titled(profile) for name, profile in targets.items()},
        providers=found.providers,
        backend_providers=found.backend_providers,
        problems=found.problems,
        facts=facts,
    )


def given_or_installed(given: Registry | None, targets_file: str | Path | None = None) -> Registry:
    """Take the registry that was handed in, else that of this process.

    Args:
        given: complete as it is.
        targets_file: as in :func:`registry`; not read if a registry was handed in.

    Raises:
        CatalogError: the user's file is missing or malformed.
    """
    return registry(targets_file) if given is None else given


def _check_options(profile: TargetProfile, backend: Backend) -> None:
    """Refuse an option that is not read: the one that was meant would keep its default."""
    if backend.info.options is None:
        return
    known = {*backend.info.options, RUNS_ON}
    for key in sorted(profile.options.keys() - known):
        near = difflib.get_close_matches(key, known, 1)
        raise CatalogError(
            f"{profile.origin}: targets.{profile.name}.options.{key} is unknown; the backend "
            f"{backend.info.name!r} reads {', '.join(sorted(known))}.",
            f"Did you mean {near[0]}?" if near else "",
        )


def _titled(profile: TargetProfile) -> TargetProfile:
    return profile if profile.family else replace(profile, family=profile.backend)


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(sorted(names)) or "none"
