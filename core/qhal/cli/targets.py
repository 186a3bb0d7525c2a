"""``qhal targets``: the devices there are, or the numbers of one of them."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

from qhal.cli import console, options

if TYPE_CHECKING:
    from qhal.plugin.registry import Registry
    from qhal.target.profile import TargetProfile

SUMMARY = "list the devices, or show one with its numbers and their sources"


def add_arguments(parser: options.Parser) -> None:
    """[NAME] --targets --json."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="show this device alone")
    options.add_targets_file(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from qhal.plugin.registry import registry

    found = registry(arguments.targets_file)
    if arguments.name:
        profiles = [found.profile(arguments.name)]
    else:
        profiles = sorted(found.targets.values(), key=lambda p: (p.family, p.name))
    if arguments.json:
        console.write_json([_to_json(found, profile) for profile in profiles])
    elif arguments.name:
        _show(found, profiles[0])
    else:
        _list(found, profiles)
    return 0


def _status(found: Registry, profile: TargetProfile) -> tuple[str, str]:
    """What works here with a target: one word, and the reason if something does not."""
    from qhal.doctor import why_not

    backend = found.backends.get(profile.backend)
    if backend is None:
        return "missing", f"the backend {profile.backend!r} is not installed; see qhal plugins"
    if reason := why_not(backend, backend.cannot_lower):
        return "missing", reason
    if reason := why_not(backend, partial(backend.unavailable_on, profile)):
        return "writes", reason
    return "writes and runs", ""


def _list(found: Registry, profiles: list[TargetProfile]) -> None:
    rows = []
    for profile in profiles:
        word, reason = _status(found, profile)
        rows.append((profile.name, profile.title, profile.backend, word, reason))
    console.table(("target", "device", "backend", "here", "why not"), rows)


def _show(found: Registry, profile: TargetProfile) -> None:
    word, reason = _status(found, profile)
    console.write(f"{profile.name}: {profile.title}")
    console.write(f"backend {profile.backend}, from {profile.origin}; here: {word} {reason}")
    facts = [
        (key, f"{fact.value:,.10g} {fact.unit}", fact.source) for key, fact in profile.facts.items()
    ]
    options_ = [(key, value, "option of the backend") for key, value in profile.options.items()]
    if facts or options_:
        console.table(("fact", "value", "source"), [*facts, *options_])


def _to_json(found: Registry, profile: TargetProfile) -> dict[str, Any]:
    word, reason = _status(found, profile)
    return {
        "name": profile.name,
        "title": profile.title,
        "family": profile.family,
        "backend": profile.backend,
        "origin": profile.origin,
        "here": word,
        "why_not": reason,
        "facts": {
            key: {"value": fact.value, "unit": fact.unit, "source": fact.source}
            for key, fact in profile.facts.items()
        },
        "options": dict(profile.options),
    }
