"""The one door to backends: errors behind it name who provides the backend.

Methods of a backend are called by :func:`call`; what it answers with that has methods of its own
(a runner, a setup) stays behind the door. Built-in backends have no privilege: theirs is
quant-hal, and a bug in quant-hal it is then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from importlib.util import find_spec
from types import NoneType
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from qhal.errors import (
    InternalError,
    MissingDependencyError,
    PluginError,
    QhalError,
    in_one_line,
)
from qhal.ir.graph import Array, Arrays
from qhal.output import is_full_disk
from qhal.plugin.answers import check_answer
from qhal.plugin.backend import Artifact, Backend, Findings, Placement, Runner, Trial
from qhal.plugin.lent import Seal, frozen, lend, read_only
from qhal.plugin.machine_setup import Setup
from qhal.plugin.provided import Provided
from qhal.plugin.readiness import Readiness
from qhal.quant.model import QuantModel
from qhal.system.shortage import shortage
from qhal.targets.capability import Capabilities
from qhal.targets.profile import TargetProfile

_OPTIONAL = re.compile(r"""([A-Za-z0-9._-]+).*;.*\bextra\s*==\s*['"]([^'"]+)['"]""")
"""A requirement of an extra: the distribution and the extra."""

P = ParamSpec("P")
R = TypeVar("R")
_Method = Callable[Concatenate[Backend, P], R]

_ANSWERS: Mapping[str, tuple[type, ...]] = {
    "readiness": (Readiness,),
    "capabilities": (Capabilities,),
    "foresee": (tuple,),
    "lower": (Artifact,),
    "load": (Runner, NoneType),
    "placement": (Placement, NoneType),
    "examine": (Findings,),
    "setups": (tuple,),
}
"""What each method of :class:`~qhal.plugin.backend.Backend` answers with."""


def call(provided: Provided, method: _Method[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a method of a backend.

    Args:
        provided: whose method it is.
        method: as the class ``Backend`` has it, such as ``Backend.lower``.
        *args: its arguments.
        **kwargs: its named arguments.

    Returns:
        The backend's answer; what has methods of its own stays behind the door, see
        :data:`_GUARDS`.

    Raises:
        PluginError: it broke, or returned something of a wrong type.
        MissingDependencyError: a package that it imports is not installed.
        QhalError: what it raised on purpose.
    """
    name = method.__name__
    with blaming(provided, name):
        answer: Any = getattr(provided.backend, name)(*map(_lent, args), **kwargs)
        _expect(answer, _ANSWERS[name])
        check_answer(name, answer)
        if name in _GUARDS:
            answer = _GUARDS[name](provided, answer)
    return cast(R, answer)


def _lent(value: object) -> object:
    """Hand out what the core itself reads again so that a backend can only read it."""
    if isinstance(value, QuantModel):
        return lend(value)
    if isinstance(value, Trial):
        inputs = {name: read_only(array) for name, array in value.inputs.items()}
        return Trial(value.artifact, frozen(inputs))
    if isinstance(value, TargetProfile):
        return replace(value, facts=frozen(value.facts), options=frozen(value.options))
    return value


def check_unchanged(provided: Provided, doing: str, before: Seal, now: Seal) -> None:
    """Blame a backend if what it was lent is no longer what it was.

    Raises:
        PluginError: something was changed.
    """
    if changed := before.broken_by(now):
        what = f"it changed {changed}, which it may only read"
        raise _broken(provided, doing, what, "Nothing can be compared with a changed model.")


class _LoadedArtifact:
    """A runner behind the door: what breaks while it runs is blamed on its backend."""

    def __init__(self, provided: Provided, runner: Runner) -> None:
        self.runtime = runner.runtime
        self._provided = provided
        self._runner = runner

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """See :meth:`qhal.plugin.backend.Runner.run`.

        Raises:
            PluginError: as :func:`call`.
        """
        try:  # the clock measures this: where nothing breaks, blaming takes no time
            outputs = self._runner.run(inputs)
            _expect(outputs, (dict,))
        except (Exception, SystemExit):
            with blaming(self._provided, "run"):
                raise
        return outputs


@contextmanager
def blaming(provided: Provided, doing: str) -> Iterator[None]:
    """Turn whatever a backend's code raises into an error that names who provides it.

    A full disk or memory, or a limit of the system, is nobody's fault, and errors of qhal that are
    raised on purpose pass as they are; that an invariant does not hold is not one of them.

    Args:
        provided: whose code it is.
        doing: the method that is called.
    """
    try:
        with naming(provided, doing):
            yield
    except MemoryError:  # nobody's fault
        raise
    except InternalError as error:
        raise _broken(provided, doing, error.message) from error
    except QhalError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, OSError) and is_full_disk(error):
            raise
        if (want := shortage(error)) is not None:
            raise want from error
        if isinstance(error, ModuleNotFoundError) and (package := _absent(error)):
            raise _not_installed(provided, package) from error
        raise _broken(provided, doing, in_one_line(error)) from error


@contextmanager
def naming(provided: Provided, doing: str) -> Iterator[None]:
    """Add who it was to a PluginError of code that does not know which backend it works for."""
    try:
        yield
    except PluginError as error:
        raise _broken(provided, doing, error.message, error.hint) from error


def _broken(provided: Provided, doing: str, what: str, hint: str = "") -> PluginError:
    fix = "\n".join(filter(None, (hint, provided.report_to)))
    return PluginError(f"The {provided.name} broke in {doing}: {what.rstrip('.')}.", fix)


def _expect(answer: object, kinds: tuple[type, ...]) -> None:
    if not isinstance(answer, kinds):
        wanted = " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
        kind = type(answer).__name__
        raise PluginError(f"it returned {answer!r:.60} ({kind}) instead of {wanted}.")


def _guarded_setup(provided: Provided, setup: Setup) -> Setup:
    doing = f"setup {setup.name}"
    return replace(
        setup,
        missing=_blamed(provided, doing, setup.missing),
        run=_blamed(provided, doing, setup.run),
    )


def _blamed(provided: Provided, doing: str, function: Callable[P, R]) -> Callable[P, R]:
    def blamed(*args: P.args, **kwargs: P.kwargs) -> R:
        with blaming(provided, doing):
            return function(*args, **kwargs)

    return blamed


def _guarded_runner(provided: Provided, runner: Runner | None) -> Runner | None:
    return None if runner is None else _LoadedArtifact(provided, runner)


def _guarded_setups(provided: Provided, setups: tuple[Setup, ...]) -> tuple[Setup, ...]:
    return tuple(_guarded_setup(provided, setup) for setup in setups)


_GUARDS: Mapping[str, Callable[[Provided, Any], object]] = {
    "load": _guarded_runner,
    "setups": _guarded_setups,
}
"""Method whose answer has methods of its own -> what makes their errors name the backend."""


# --- packages that are not installed ----------------------------------------------


def _absent(error: ModuleNotFoundError) -> str:
    """Return the package that is not installed; "" if it is installed and lacks a module."""
    package = (error.name or "").partition(".")[0]
    return package if package and find_spec(package) is None else ""


def _not_installed(provided: Provided, package: str) -> MissingDependencyError:
    distribution, provider = provided.info.packages.get(package, package), provided.provider
    extra = "" if provider is None else _extra_with(distribution, provider.distribution)
    wanted = f'"{provider.distribution}[{extra}]"' if provider and extra else distribution
    return MissingDependencyError(
        f"The package {package!r} is not installed.", f"Run: pip install {wanted}"
    )


def _extra_with(wanted: str, distribution: str) -> str:
    """Find the smallest extra of a distribution that provides another one; "" if none does."""
    try:
        lines = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:  # the plugin is no installed distribution
        return ""
    provided: dict[str, set[str]] = {}
    for found in map(_OPTIONAL.match, lines):
        if found:
            provided.setdefault(found[2], set()).add(_normal(found[1]))
    fitting = [extra for extra, names in provided.items() if _normal(wanted) in names]
    return min(fitting, key=lambda extra: (len(provided[extra]), extra), default="")


def _normal(name: str) -> str:
    """Normalize the name of a distribution, so that equal ones compare equal (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
