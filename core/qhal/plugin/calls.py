"""Calls into backends: what goes wrong in one is told in the name of who brings it.

Built-in backends have no privilege: theirs is quant-hal, and a bug in quant-hal it is then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from importlib.util import find_spec
from types import NoneType
from typing import Concatenate, ParamSpec, TypeVar

from qhal.errors import (
    InternalError,
    MissingDependencyError,
    PluginError,
    QhalError,
    in_one_line,
)
from qhal.output import is_full_disk
from qhal.plugin.backend import Artifact, Backend, Findings, Placement, Runner
from qhal.plugin.registry import provider_of
from qhal.plugin.setup import Setup
from qhal.targets.capability import Capabilities

_OPTIONAL = re.compile(r"""([A-Za-z0-9._-]+).*;.*\bextra\s*==\s*['"]([^'"]+)['"]""")
"""A requirement of an extra: the distribution and the extra."""

P = ParamSpec("P")
R = TypeVar("R")
_Question = Callable[Concatenate[Backend, P], R]

_ANSWERS: Mapping[str, tuple[type, ...]] = {
    "unavailable": (str, NoneType),
    "unavailable_on": (str, NoneType),
    "cannot_lower": (str, NoneType),
    "capabilities": (Capabilities,),
    "foresee": (tuple,),
    "lower": (Artifact,),
    "load": (Runner, NoneType),
    "placement": (Placement, NoneType),
    "examine": (Findings,),
    "setups": (tuple,),
}
"""What each method of :class:`~qhal.plugin.backend.Backend` answers with."""


def ask(backend: Backend, method: _Question[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a method of a backend.

    Args:
        backend: whom to ask.
        method: as the class ``Backend`` has it, such as ``Backend.lower``.
        *args: its arguments.
        **kwargs: its named arguments.

    Raises:
        PluginError: it broke, or answered with something else than it must.
        MissingDependencyError: a package that it imports is not installed.
        QhalError: what it raised on purpose.
    """
    name = method.__name__
    with blaming(backend, name):
        answer: R = getattr(backend, name)(*args, **kwargs)
        _expect(answer, _ANSWERS[name])
    return answer


def setups_of(backend: Backend) -> tuple[Setup, ...]:
    """What a backend can prepare; what breaks in the functions of these is its fault, too.

    Raises:
        PluginError: as :func:`ask`.
    """
    found = ask(backend, Backend.setups)
    with blaming(backend, "setups"):
        for setup in found:
            _expect(setup, (Setup,))
    return tuple(_in_the_name_of(backend, setup) for setup in found)


@contextmanager
def blaming(backend: Backend, doing: str) -> Iterator[None]:
    """Turn whatever a backend's code raises into an error that names who brings it.

    A full disk is nobody's fault, and errors of qhal that are raised on purpose pass as they
    are; that an invariant does not hold is not one of them.

    Args:
        backend: whose code it is.
        doing: the method that is called.
    """
    try:
        with naming(backend, doing):
            yield
    except InternalError as error:
        raise _broken(backend, doing, error.message) from error
    except QhalError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, OSError) and is_full_disk(error):
            raise
        if isinstance(error, ModuleNotFoundError) and (package := _absent(error)):
            raise _not_installed(backend, package) from error
        raise _broken(backend, doing, in_one_line(error)) from error


@contextmanager
def naming(backend: Backend, doing: str) -> Iterator[None]:
    """Add who it was to a PluginError of code that does not know which backend it works for."""
    try:
        yield
    except PluginError as error:
        raise _broken(backend, doing, error.message, error.hint) from error


def name_of(backend: Backend) -> str:
    """The backend with the distribution that brings it: ``backend 'cpu' of quant-hal 0.1.0``."""
    provider = provider_of(backend)
    by = "" if provider is None else f" of {provider.distribution} {provider.version}"
    return f"backend {backend.name!r}{by}"


def report_to(backend: Backend) -> str:
    """Where a bug of a backend belongs, as the hint of an error."""
    provider = provider_of(backend)
    if provider is None:
        return "This is a bug of the backend; please report it."
    return f"This is a bug in {provider.distribution} {provider.version}; please report it there."


def _broken(backend: Backend, doing: str, what: str, hint: str = "") -> PluginError:
    mend = "\n".join(filter(None, (hint, report_to(backend))))
    return PluginError(f"The {name_of(backend)} broke in {doing}: {what.rstrip('.')}.", mend)


def _expect(answer: object, kinds: tuple[type, ...]) -> None:
    if not isinstance(answer, kinds):
        wanted = " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
        kind = type(answer).__name__
        raise PluginError(f"it answered with {answer!r:.60} ({kind}) instead of {wanted}.")


def _in_the_name_of(backend: Backend, setup: Setup) -> Setup:
    doing = f"setup {setup.name}"
    return replace(
        setup,
        missing=_blamed(backend, doing, setup.missing),
        run=_blamed(backend, doing, setup.run),
    )


def _blamed(backend: Backend, doing: str, function: Callable[P, R]) -> Callable[P, R]:
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with blaming(backend, doing):
            return function(*args, **kwargs)

    return call


# --- packages that are not installed ----------------------------------------------


def _absent(error: ModuleNotFoundError) -> str:
    """The package that is not installed; "" if it is, and lacks a module that somebody wants."""
    package = (error.name or "").partition(".")[0]
    return package if package and find_spec(package) is None else ""


def _not_installed(backend: Backend, package: str) -> MissingDependencyError:
    distribution, provider = backend.packages.get(package, package), provider_of(backend)
    extra = "" if provider is None else _extra_with(distribution, provider.distribution)
    wanted = f'"{provider.distribution}[{extra}]"' if provider and extra else distribution
    return MissingDependencyError(
        f"The package {package!r} is not installed.", f"Run: pip install {wanted}"
    )


def _extra_with(wanted: str, distribution: str) -> str:
    """The extra of a distribution that brings another one, and least else; "" if none does."""
    try:
        lines = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:  # the plugin is no installed distribution
        return ""
    brought: dict[str, set[str]] = {}
    for found in map(_OPTIONAL.match, lines):
        if found:
            brought.setdefault(found[2], set()).add(_normal(found[1]))
    fitting = [extra for extra, names in brought.items() if _normal(wanted) in names]
    return min(fitting, key=lambda extra: (len(brought[extra]), extra), default="")


def _normal(name: str) -> str:
    """Names of distributions are equal if their normal forms are (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
