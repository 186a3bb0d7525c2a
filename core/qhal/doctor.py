"""What is installed here, what is missing, and the command that mends it."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from importlib import metadata

import qhal
from qhal.plugin.backend import Backend
from qhal.plugin.registry import Registry

DISTRIBUTION = "quant-hal"


class Status(Enum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        subject: what.
        status: a note limits what works, a failure stops qhal from working.
        detail: a version, or what is wrong.
        mend: the command that mends it.
    """

    subject: str
    status: Status
    detail: str
    mend: str = ""

    def to_json(self) -> dict[str, str]:
        """A JSON object with the four fields as strings."""
        return {
            "subject": self.subject,
            "status": self.status.value,
            "detail": self.detail,
            "mend": self.mend,
        }


def examine(registry: Registry) -> tuple[Check, ...]:
    """All checks, in the order in which a reader wants them."""
    return (
        Check("qhal", Status.OK, qhal.__version__),
        Check("python", Status.OK, f"{platform.python_version()} on {platform.platform()}"),
        Check("processor", Status.OK, _processor()),
        *_requirements(),
        *(check for name in sorted(registry.backends) for check in _backend(registry, name)),
        *(
            check
            for name in sorted(registry.backends)
            for check in _setups(registry.backends[name])
        ),
        *_plugins(registry),
    )


def _processor() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.machine()}, {cores} cores usable"


def _requirements() -> Iterable[Check]:
    """The packages that the core cannot do without, from the installed metadata."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield Check(DISTRIBUTION, Status.FAILED, "not installed", f"pip install {DISTRIBUTION}")
        return
    for line in lines:
        if "extra ==" not in line:
            yield _requirement(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0])


def _requirement(name: str) -> Check:
    try:
        return Check(name, Status.OK, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, Status.FAILED, "not installed", f"pip install {name}")


def _backend(registry: Registry, name: str) -> Iterable[Check]:
    backend = registry.backends[name]
    lowers = why_not(backend, backend.cannot_lower)
    runs = why_not(backend, backend.unavailable)
    provider = registry.backend_providers[name]
    if lowers:
        yield Check(f"backend {name}", Status.NOTE, "cannot write artifacts", lowers)
    elif runs:
        yield Check(f"backend {name}", Status.NOTE, "writes artifacts, cannot run them here", runs)
    else:
        yield Check(f"backend {name}", Status.OK, f"writes and runs artifacts; from {provider}")
        yield from _absent_devices(registry, backend)


def _absent_devices(registry: Registry, backend: Backend) -> Iterable[Check]:
    """The targets that a backend cannot run here although it runs others."""
    for profile in registry.targets.values():
        if profile.backend == backend.name:
            reason = why_not(backend, partial(backend.unavailable_on, profile))
            if reason:
                detail = "artifacts are written, but cannot run here"
                yield Check(f"target {profile.name}", Status.NOTE, detail, reason)


def _setups(backend: Backend) -> Iterable[Check]:
    """What the backend can prepare, and whether it is."""
    try:
        setups = backend.setups()
        for setup in setups:
            missing = setup.missing()
            status, detail = (Status.OK, "ready") if missing is None else (Status.NOTE, setup.title)
            yield Check(f"setup {setup.name}", status, detail, missing or "")
    except Exception as error:  # noqa: BLE001 - a stranger's code may do anything
        sentence = f"cannot tell what it prepares: {type(error).__name__}: {error}"
        yield Check(f"backend {backend.name} setups", Status.NOTE, sentence)


def why_not(backend: Backend, question: Callable[[], str | None]) -> str | None:
    """A backend's answer to ``unavailable`` or ``cannot_lower``; a broken one is a reason too."""
    try:
        return question()
    except Exception as error:  # noqa: BLE001 - a stranger's code may do anything
        return f"The backend {backend.name!r} cannot tell: {type(error).__name__}: {error}"


def _plugins(registry: Registry) -> Iterable[Check]:
    for problem in registry.problems:
        subject = f"plugin {problem.provider.distribution} {problem.provider.version}"
        yield Check(subject, Status.NOTE, problem.sentence, problem.mend)
