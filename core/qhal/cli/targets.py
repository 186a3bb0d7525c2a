"""``qhal targets``: the devices there are, or the numbers of one of them."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Any

from qhal.cli import console, options

if TYPE_CHECKING:
    from qhal.doctor import WorksHere
    from qhal.plugin.registry import Registry
    from qhal.targets.profile import TargetProfile

SUMMARY = "list the devices, or show one with its numbers and their sources"

_HERE = {
    "writes and runs": "artifacts are written and run here",
    "writes": "artifacts are written, but cannot run here",
    "missing": "artifacts cannot be written here",
}
_ELSE = {
    "writes and runs": "written and run here",
    "writes": "cannot run here: ",
    "missing": "cannot be written here: ",
}
"""The same in a row, in front of the reason."""

_WIDEST = 100


def add_arguments(parser: options.Parser) -> None:
    """Declare [NAME] --targets --json."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="show only this device")
    options.add_targets_file(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace, registry: Registry | None = None) -> int:
    """Run the command."""
    from qhal.plugin.registry import given_or_installed

    found = given_or_installed(registry, arguments.targets_file)
    if arguments.name:
        profiles = [found.profile(arguments.name)]
    else:
        profiles = _in_order(found.targets.values())
    if arguments.json:
        console.write_json([_to_json(found, profile) for profile in profiles])
    elif arguments.name:
        _show(found, profiles[0])
    else:
        _list(found, profiles)
    return 0


def _in_order(profiles: Iterable[TargetProfile]) -> list[TargetProfile]:
    """Sort by family, the catalog's before those of plugins, and u55-64 before u55-128."""
    listed = list(profiles)
    families = list(dict.fromkeys(profile.family for profile in listed))
    return sorted(listed, key=lambda p: (families.index(p.family), _natural(p.name)))


def _natural(name: str) -> list[str | int]:
    """Split a name so that its numbers sort as numbers; every second part is one."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", name)]


def _list(found: Registry, profiles: list[TargetProfile]) -> None:
    """Print what works once per family, and again for each device that differs from most."""
    from qhal.doctor import works_here

    here = {profile.name: works_here(found, profile) for profile in profiles}
    names = max(len(name) for name in here)
    for family, grouped in groupby(profiles, lambda profile: profile.family):
        members = list(grouped)
        [(common, _)] = Counter(here[profile.name] for profile in members).most_common(1)
        console.heading(family, f": {_HERE[common.word]}")
        if common.reason:
            console.write(f"  {common.reason}")
        for profile in members:
            own = here[profile.name]
            console.write(_row(profile, names, own if own != common else None))
        console.write("")
    console.write(f"{len(profiles)} devices. `qhal targets NAME` shows one with its numbers.")


def _row(profile: TargetProfile, names: int, status: WorksHere | None) -> str:
    """Write name and device, and below them what works; no command is wrapped."""
    start = f"  {profile.name:{names}}  "
    width, margin = min(console.width(), _WIDEST), " " * len(start)
    device = textwrap.fill(profile.title, width, initial_indent=start, subsequent_indent=margin)
    return f"{device}\n{margin}{_ELSE[status.word]}{status.reason}" if status else device


def _show(found: Registry, profile: TargetProfile) -> None:
    from qhal.doctor import works_here

    status = works_here(found, profile)
    console.heading(profile.name, f": {profile.title}")
    console.write(f"backend {profile.backend}, from {profile.origin}")
    console.write(f"{_HERE[status.word]}{f': {status.reason}' if status.reason else ''}")
    facts = [(key, str(fact), fact.source) for key, fact in profile.facts.items()]
    options_ = [(key, value, "option of the backend") for key, value in profile.options.items()]
    if facts or options_:
        console.table(("fact", "value", "source"), [*facts, *options_])


def _to_json(found: Registry, profile: TargetProfile) -> dict[str, Any]:
    from qhal.doctor import works_here

    here = works_here(found, profile)
    return {
        "name": profile.name,
        "title": profile.title,
        "family": profile.family,
        "backend": profile.backend,
        "origin": profile.origin,
        "here": here.word,
        "why_not": here.reason,
        "facts": {
            key: {"value": fact.value, "unit": fact.unit, "source": fact.source}
            for key, fact in profile.facts.items()
        },
        "options": dict(profile.options),
    }
