"""Find plugins and take only what is sound: one broken plugin never takes qhal down.

Every entry point of the group ``qhal`` is loaded on its own. Whatever goes wrong with it, even
``sys.exit`` while it is imported, becomes a :class:`Problem` that names its distribution.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, Generic, TypeVar

import pluggy

from qhal.errors import PluginError
from qhal.plugin import hookspec
from qhal.plugin.backend import Backend
from qhal.plugin.info import API_VERSION, NAMING, BackendInfo, is_name
from qhal.targets.profile import TargetProfile

GROUP = "qhal"

T = TypeVar("T", Backend, TargetProfile)


@dataclass(frozen=True, order=True)
class Provider:
    """Who provides something: an entry point of a distribution."""

    distribution: str
    version: str
    entry_point: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} (entry point {self.entry_point})"


@dataclass(frozen=True)
class Problem:
    """Something wrong with a plugin.

    Attributes:
        provider: whose fault it is.
        sentence: what is wrong.
        fix: what to do about it.
        lost: names of what may be missing because of it: the entry point, backend or target.
    """

    provider: Provider
    sentence: str
    fix: str
    lost: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.provider}: {self.sentence} {self.fix}"


@dataclass(frozen=True)
class Found:
    """Everything that the installed plugins provide.

    Attributes:
        providers: entry points that were loaded, in order of distribution and name.
        backends: by name.
        backend_providers: backend name -> who provides it.
        targets: by name; ``origin`` says who provides it.
        problems: what is wrong, in the order it was found.
    """

    providers: tuple[Provider, ...] = ()
    backends: Mapping[str, Backend] = field(default_factory=dict)
    backend_providers: Mapping[str, Provider] = field(default_factory=dict)
    targets: Mapping[str, TargetProfile] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class _Claim(Generic[T]):
    """A plugin that wants a name for what it provides."""

    name: str
    thing: T
    provider: Provider

    @property
    def rank(self) -> int:
        """An entry point that is called like what it provides has the better claim."""
        return 0 if self.provider.entry_point == self.name else 1


def discover(reserved: Iterable[str] = ()) -> Found:
    """Load every entry point of the group ``qhal``.

    Args:
        reserved: names of targets that plugins cannot take.
    """
    return _Discovery().run(frozenset(reserved))


class _Discovery:
    def __init__(self) -> None:
        self.manager = pluggy.PluginManager("qhal")
        self.manager.add_hookspecs(hookspec)
        self.loaded: list[tuple[Provider, Any]] = []
        self.problems: list[Problem] = []

    def run(self, reserved: frozenset[str]) -> Found:
        for point in sorted(entry_points(group=GROUP), key=_provider):
            provider = _provider(point)
            with self._isolated(provider, "cannot be loaded"):
                self._load(point, provider)
        backends = self._claims("qhal_backends", _check_backend)
        targets = self._claims("qhal_targets", _check_target)
        backends_won = self._award("backend", backends)
        targets_won = self._award("target", targets, reserved)
        return Found(
            providers=tuple(provider for provider, _ in self.loaded),
            backends={name: claim.thing for name, claim in backends_won.items()},
            backend_providers={name: claim.provider for name, claim in backends_won.items()},
            targets={
                name: replace(claim.thing, origin=str(claim.provider))
                for name, claim in targets_won.items()
            },
            problems=tuple(self.problems),
        )

    def _load(self, point: EntryPoint, provider: Provider) -> None:
        plugin = point.load()
        self.manager.register(plugin, name=f"{provider.distribution}:{provider.entry_point}")
        unknown = _unknown_hooks(self.manager, plugin)
        if unknown or not self.manager.get_hookcallers(plugin):
            self.manager.unregister(plugin)
            known = ", ".join(_hook_names())
            raise UnsoundPluginError(
                f"has an unknown hook {unknown[0]}" if unknown else "implements no hook of qhal",
                f"Known hooks, marked with @qhal.hookimpl: {known}.",
            )
        self.loaded.append((provider, plugin))

    def _claims(self, hook: str, check: Callable[[Any], T]) -> list[_Claim[T]]:
        """Collect what every plugin returns from one hook, as far as it is sound."""
        claims: list[_Claim[T]] = []
        for provider, plugin in self.loaded:
            things: list[Any] = []
            with self._isolated(provider, f"broke in its hook {hook}"):
                things = self._call(hook, plugin)
            for thing in things:
                with self._isolated(provider, f"returned something invalid from {hook}"):
                    sound = check(thing)
                    claims.append(_Claim(_name_of(sound), sound, provider))
        return claims

    def _call(self, hook: str, plugin: Any) -> list[Any]:
        """Call a hook of one plugin alone, so that it can break no other."""
        others = [p for p in self.manager.get_plugins() if p is not plugin]
        caller = self.manager.subset_hook_caller(hook, others)
        return [thing for things in caller() for thing in things]

    def _award(
        self, kind: str, claims: Sequence[_Claim[T]], reserved: frozenset[str] = frozenset()
    ) -> dict[str, _Claim[T]]:
        """Give each name to its best claim, and to none if the best claims are equal.

        Quietly choosing one of two would let an unrelated installation change what a target means.
        """
        won: dict[str, _Claim[T]] = {}
        for name in dict.fromkeys(claim.name for claim in claims):
            rivals = sorted((c for c in claims if c.name == name), key=lambda c: c.rank)
            if name in reserved:
                self._clash(kind, rivals, "the catalog of qhal itself")
            elif len(rivals) == 1 or rivals[0].rank < rivals[1].rank:
                won[name] = rivals[0]
                self._clash(kind, rivals[1:], str(rivals[0].provider))
            else:
                self._tie(kind, rivals)
        return won

    def _clash(self, kind: str, losers: Sequence[_Claim[T]], winner: str) -> None:
        for claim in losers:
            self.problems.append(
                Problem(
                    claim.provider,
                    f"provides the {kind} {claim.name!r}, which {winner} provides too; "
                    "this one is not used.",
                    f"Rename it, or run: pip uninstall {claim.provider.distribution}",
                )
            )

    def _tie(self, kind: str, rivals: Sequence[_Claim[T]]) -> None:
        for claim in rivals:
            others = " and ".join(str(r.provider) for r in rivals if r is not claim)
            self.problems.append(
                Problem(
                    claim.provider,
                    f"provides the {kind} {claim.name!r}, and so does {others or 'itself again'}; "
                    "none of them is used.",
                    f"Run: pip uninstall {claim.provider.distribution}",
                    lost=(claim.name,),
                )
            )

    @contextmanager
    def _isolated(self, provider: Provider, verb: str) -> Iterator[None]:
        """Turn whatever a plugin does into a problem; what it prints goes to stderr."""
        lost: tuple[str, ...] = (provider.entry_point,)
        try:
            with redirect_stdout(sys.stderr):
                yield
        except UnsoundPluginError as error:
            lost += (error.lost,) if error.lost else ()
            self.problems.append(Problem(provider, f"{error.sentence}.", error.fix, lost))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's code may do anything
            hint = error.hint if isinstance(error, PluginError) else ""
            update = f"Fix or update it, or run: pip uninstall {provider.distribution}"
            fix = " ".join(filter(None, (hint, update)))
            self.problems.append(Problem(provider, f"{verb}: {_brief(error)}", fix, lost))


class UnsoundPluginError(Exception):
    """A plugin broke its contract."""

    def __init__(self, sentence: str, fix: str, lost: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.fix = fix
        self.lost = lost


def _provider(point: EntryPoint) -> Provider:
    if point.dist is None:
        return Provider("unknown distribution", "0", point.name)
    return Provider(point.dist.name, point.dist.version, point.name)


def _hook_names() -> list[str]:
    return [name for name in vars(hookspec) if name.startswith("qhal_")]


def _unknown_hooks(manager: pluggy.PluginManager, plugin: ModuleType | object) -> list[str]:
    callers = manager.get_hookcallers(plugin) or []
    return [caller.name for caller in callers if caller.name not in _hook_names()]


def _check_backend(thing: Any) -> Backend:
    if isinstance(thing, type) and issubclass(thing, Backend):
        raise UnsoundPluginError(
            f"returned the class {thing.__name__} as a backend",
            f"Return an instance: {thing.__name__}().",
        )
    if not isinstance(thing, Backend):
        raise UnsoundPluginError(
            f"returned {_kind(thing)} as a backend", "Return instances of qhal.Backend."
        )
    info: Any = getattr(thing, "info", None)
    if not isinstance(info, BackendInfo):
        raise UnsoundPluginError(
            f"returned a {type(thing).__name__} that has no BackendInfo",
            'Set in the class: info = qhal.BackendInfo("its-name").',
        )
    if info.api_version != API_VERSION:
        raise UnsoundPluginError(
            f"provides the backend {info.name!r} for version {info.api_version!r} of the "
            f"plugin interface; this qhal has version {API_VERSION}",
            "Update the older one of the two: pip install --upgrade quant-hal and the plugin.",
            lost=info.name,
        )
    return thing


def _check_target(thing: Any) -> TargetProfile:
    if not isinstance(thing, TargetProfile):
        raise UnsoundPluginError(
            f"returned {_kind(thing)} as a target", "Return instances of qhal.TargetProfile."
        )
    if not is_name(thing.name):
        raise UnsoundPluginError(f"provides a target with the invalid name {thing.name!r}", NAMING)
    return thing


def _name_of(thing: Backend | TargetProfile) -> str:
    return thing.info.name if isinstance(thing, Backend) else thing.name


def _kind(thing: Any) -> str:
    return f"{thing!r:.60} ({type(thing).__name__})"


def _brief(error: BaseException) -> str:
    if isinstance(error, PluginError):
        return error.message
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}." if first else f"{type(error).__name__}."
