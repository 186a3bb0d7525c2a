"""What is installed here, what is missing, and the command that fixes it."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib import metadata

from qhal.codec import Json, encode
from qhal.errors import QhalError
from qhal.host import usable_cores
from qhal.plugin.backend import Backend
from qhal.plugin.calls import call
from qhal.plugin.machine_setup import Setup
from qhal.plugin.provided import Provided
from qhal.plugin.readiness import Lack, Readiness
from qhal.plugin.registry import Registry
from qhal.targets.profile import TargetProfile
from qhal.version import __version__

DISTRIBUTION = "quant-hal"


class CheckStatus(Enum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"
    """Good to know, but nothing to install: a device is absent, a plugin is broken."""
    MISSING = "missing"
    """Something that an installed backend needs is not installed; the rest of qhal works."""
    FAILED = "failed"
    """Something that qhal itself needs is not installed."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        subject: what.
        status: how it ended.
        detail: a version, or what is wrong.
        why: what is lacking, where ``detail`` does not say it.
        fix: the command that fixes it.
    """

    subject: str
    status: CheckStatus
    detail: str
    why: str = ""
    fix: str = ""

    @property
    def advice(self) -> str:
        """What is lacking and the command, in one line; empty if nothing is."""
        return ": ".join(filter(None, (self.why, self.fix)))

    def to_json(self) -> dict[str, Json]:
        """Make a JSON object with the five fields as strings."""
        body: dict[str, Json] = encode(self)
        return body


@dataclass(frozen=True)
class WorksHere:
    """What works here with one target.

    Attributes:
        word: ``writes and runs``, ``writes`` or ``missing``.
        reason: why not more, with the command that fixes it; empty if nothing is missing.
    """

    word: str
    reason: str = ""


def examine(registry: Registry, targets: Sequence[str] = ()) -> tuple[Check, ...]:
    """Make all checks, in the order in which a reader wants them.

    Args:
        registry: what is installed here.
        targets: names of targets: only what they need is looked at. Without any, everything is.

    Raises:
        UnknownTargetError: one of the names is not a target.
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
        *(check for name in names for check in _setups(registry, name)),
        *(() if targets else _plugins(registry)),
    )


def _requirements() -> Iterable[Check]:
    """Check the packages that the core needs, as its installed metadata lists them."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield Check(
            DISTRIBUTION, CheckStatus.FAILED, "not installed", fix=f"pip install {DISTRIBUTION}"
        )
        return
    for line in lines:
        if "extra ==" not in line:
            yield _requirement(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0])


def _requirement(name: str) -> Check:
    try:
        return Check(name, CheckStatus.OK, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, CheckStatus.FAILED, "not installed", fix=f"pip install {name}")


def _backend(registry: Registry, name: str, profiles: Sequence[TargetProfile]) -> Iterable[Check]:
    """Check a backend, and those of its targets that it cannot run although it runs others."""
    if name not in registry.backends:
        problem = registry.lacks_backend(profiles[0])
        yield Check(f"backend {name}", CheckStatus.MISSING, problem.message, fix=problem.hint)
        return
    provided, subject = registry.provided(name), f"backend {name}"
    try:
        ready = call(provided, Backend.readiness)
    except QhalError as error:
        sentence = f"failed to report what works here: {error.message}"
        yield Check(subject, CheckStatus.NOTE, sentence, fix=error.hint)
        return
    if ready.lower:
        yield _lacking(subject, "cannot write artifacts", ready.lower)
    elif ready.run:
        yield _lacking(subject, "writes artifacts, but cannot run them here", ready.run)
    else:
        provider = registry.backend_providers[name]
        by = f"{provider.distribution} {provider.version}"
        yield Check(subject, CheckStatus.OK, f"writes and runs artifacts ({by})")
        yield from _absent_devices(provided, profiles)


def _absent_devices(provided: Provided, profiles: Iterable[TargetProfile]) -> Iterable[Check]:
    for profile in profiles:
        lack = _ready(provided, profile).run
        if lack:
            detail = "artifacts are written, but cannot run here"
            yield _lacking(f"target {profile.name}", detail, lack, CheckStatus.NOTE)


def _lacking(
    subject: str, detail: str, lack: Lack, status: CheckStatus = CheckStatus.MISSING
) -> Check:
    return Check(subject, status, detail, lack.why, lack.fix)


def _setups(registry: Registry, name: str) -> Iterable[Check]:
    """Check what the backend can prepare, and whether it is ready."""
    if name not in registry.backends:
        return
    try:
        for setup in call(registry.provided(name), Backend.setups):
            yield _setup(setup)
    except QhalError as error:
        sentence = f"failed to report what it prepares: {error.message}"
        yield Check(f"backend {name} setups", CheckStatus.NOTE, sentence, fix=error.hint)


def _setup(setup: Setup) -> Check:
    subject, lack = f"setup {setup.name}", setup.missing()
    if lack is None:
        return Check(subject, CheckStatus.OK, f"ready: {setup.title}")
    status = CheckStatus.NOTE if setup.optional else CheckStatus.MISSING
    return _lacking(subject, f"not ready: {setup.title}", lack, status)


def _ready(provided: Provided, profile: TargetProfile) -> Readiness:
    """Ask what a backend can do for a target; a broken one cannot do anything."""
    try:
        return call(provided, Backend.readiness, profile)
    except QhalError as error:
        lack = Lack(error.message)
        return Readiness(lack, lack)


def works_here(registry: Registry, profile: TargetProfile) -> WorksHere:
    """Say whether artifacts for a target can be written and run here."""
    if profile.backend not in registry.backends:
        reason = f"the backend {profile.backend!r} is not installed; see `qhal plugins`"
        return WorksHere("missing", reason)
    ready = _ready(registry.provided(profile.backend), profile)
    if ready.lower:
        return WorksHere("missing", str(ready.lower))
    if ready.run:
        return WorksHere("writes", str(ready.run))
    return WorksHere("writes and runs")


def _plugins(registry: Registry) -> Iterable[Check]:
    for problem in registry.problems:
        subject = f"plugin {problem.provider.distribution} {problem.provider.version}"
        yield Check(subject, CheckStatus.NOTE, problem.sentence, fix=problem.fix)
