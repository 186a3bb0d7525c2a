"""What is installed here, what is missing, and the command that fixes it."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from typing import Concatenate, ParamSpec

from qhal.codec import Json, encode
from qhal.errors import QhalError
from qhal.host import usable_cores
from qhal.plugin.backend import Backend
from qhal.plugin.calls import call, setups_of
from qhal.plugin.registry import Registry
from qhal.targets.profile import TargetProfile
from qhal.version import __version__

DISTRIBUTION = "quant-hal"

P = ParamSpec("P")


class CheckStatus(Enum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"
    """Good to know, and no command mends it: a device is absent, a plugin is broken."""
    MISSING = "missing"
    """Something that an installed backend wants is not installed; the rest of qhal works."""
    FAILED = "failed"
    """Something that qhal cannot do without is not installed."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        subject: what.
        status: how it ended.
        detail: a version, or what is wrong.
        mend: why, and the command that fixes it.
    """

    subject: str
    status: CheckStatus
    detail: str
    mend: str = ""

    def to_json(self) -> dict[str, Json]:
        """A JSON object with the four fields as strings."""
        body: dict[str, Json] = encode(self)
        return body


@dataclass(frozen=True)
class Readiness:
    """What works here with one target.

    Attributes:
        word: ``writes and runs``, ``writes`` or ``missing``.
        reason: why not more, with the command that fixes it; empty if nothing is missing.
    """

    word: str
    reason: str = ""


def examine(registry: Registry, targets: Sequence[str] = ()) -> tuple[Check, ...]:
    """All checks, in the order in which a reader wants them.

    Args:
        registry: what is installed here.
        targets: names of targets: only what they need is looked at. Without any, everything is.

    Raises:
        UnknownTargetError: no target has one of the names.
    """
    profiles = [registry.profile(name) for name in targets] or list(registry.targets.values())
    wanted = {profile.backend for profile in profiles}
    names = sorted(wanted if targets else wanted | registry.backends.keys())
    served = {name: [p for p in profiles if p.backend == name] for name in names}
    return (
        Check("qhal", CheckStatus.OK, __version__),
        Check("python", CheckStatus.OK, f"{platform.python_version()} on {platform.platform()}"),
        Check("processor", CheckStatus.OK, f"{platform.machine()}, {usable_cores()} cores usable"),
        *_requirements(),
        *(check for name in names for check in _backend(registry, name, served[name])),
        *(check for name in names for check in _setups(registry.backends.get(name))),
        *(() if targets else _plugins(registry)),
    )


def _requirements() -> Iterable[Check]:
    """The packages that the core cannot do without, from the installed metadata."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield Check(DISTRIBUTION, CheckStatus.FAILED, "not installed", f"pip install {DISTRIBUTION}")
        return
    for line in lines:
        if "extra ==" not in line:
            yield _requirement(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0])


def _requirement(name: str) -> Check:
    try:
        return Check(name, CheckStatus.OK, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, CheckStatus.FAILED, "not installed", f"pip install {name}")


def _backend(registry: Registry, name: str, profiles: Sequence[TargetProfile]) -> Iterable[Check]:
    """A backend, and those of its targets that it cannot run although it runs others."""
    if name not in registry.backends:
        problem = registry.lacks_backend(profiles[0])
        yield Check(f"backend {name}", CheckStatus.MISSING, problem.message, problem.hint)
        return
    backend, subject = registry.backends[name], f"backend {name}"
    try:
        lowers, runs = call(backend, Backend.cannot_lower), call(backend, Backend.unavailable)
    except QhalError as error:
        sentence = f"cannot tell what it does here: {error.message}"
        yield Check(subject, CheckStatus.NOTE, sentence, error.hint)
        return
    if lowers:
        yield Check(subject, CheckStatus.MISSING, "cannot write artifacts", lowers)
    elif runs:
        yield Check(subject, CheckStatus.MISSING, "writes artifacts, cannot run them here", runs)
    else:
        provider = registry.backend_providers[name]
        brought_by = f"{provider.distribution} {provider.version}"
        yield Check(subject, CheckStatus.OK, f"writes and runs artifacts ({brought_by})")
        yield from _absent_devices(backend, profiles)


def _absent_devices(backend: Backend, profiles: Iterable[TargetProfile]) -> Iterable[Check]:
    for profile in profiles:
        reason = _why_not(backend, Backend.unavailable_on, profile)
        if reason:
            detail = "artifacts are written, but cannot run here"
            yield Check(f"target {profile.name}", CheckStatus.NOTE, detail, reason)


def _setups(backend: Backend | None) -> Iterable[Check]:
    """What the backend can prepare, and whether it is."""
    if backend is None:
        return
    try:
        for setup in setups_of(backend):
            missing = setup.missing()
            lacking = CheckStatus.NOTE if setup.optional else CheckStatus.MISSING
            status, detail = (CheckStatus.OK, "ready") if missing is None else (lacking, "not ready")
            yield Check(f"setup {setup.name}", status, f"{detail}: {setup.title}", missing or "")
    except QhalError as error:
        sentence = f"cannot tell what it prepares: {error.message}"
        yield Check(f"backend {backend.info.name} setups", CheckStatus.NOTE, sentence, error.hint)


def _why_not(
    backend: Backend,
    question: Callable[Concatenate[Backend, P], str | None],
    *args: P.args,
    **kwargs: P.kwargs,
) -> str | None:
    """A backend's answer to ``unavailable`` or ``cannot_lower``; a broken one is a reason too."""
    try:
        return call(backend, question, *args, **kwargs)
    except QhalError as error:
        return error.message


def readiness(registry: Registry, profile: TargetProfile) -> Readiness:
    """Whether artifacts for a target can be written and run here."""
    backend = registry.backends.get(profile.backend)
    if backend is None:
        reason = f"the backend {profile.backend!r} is not installed; see qhal plugins"
        return Readiness("missing", reason)
    if cannot_write := _why_not(backend, Backend.cannot_lower):
        return Readiness("missing", cannot_write)
    if cannot_run := _why_not(backend, Backend.unavailable_on, profile):
        return Readiness("writes", cannot_run)
    return Readiness("writes and runs")


def _plugins(registry: Registry) -> Iterable[Check]:
    for problem in registry.problems:
        subject = f"plugin {problem.provider.distribution} {problem.provider.version}"
        yield Check(subject, CheckStatus.NOTE, problem.sentence, problem.mend)
