"""``qhal plugins``: what is installed, and what is wrong with it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from qhal.cli import console, options

if TYPE_CHECKING:
    from qhal.plugin.registry import Provider, Registry

SUMMARY = "list the installed plugins, what they provide, and what is wrong with them"


def add_arguments(parser: options.Parser) -> None:
    """Declare --json."""
    options.add_json(parser)


def run(arguments: argparse.Namespace, registry: Registry | None = None) -> int:
    """Run the command."""
    from qhal.plugin.registry import given_or_installed

    found = given_or_installed(registry)
    if arguments.json:
        console.write_json(_to_json(found))
        return 0
    console.table(
        ("distribution", "version", "entry point", "backends", "targets"),
        [
            (
                *_names(provider).values(),
                ", ".join(_backends(found, provider)),
                ", ".join(_targets(found, provider)),
            )
            for provider in found.providers
        ],
    )
    for problem in found.problems:
        console.write(f"not used: {problem.provider}")
        console.write(f"  {problem.sentence}\n  {problem.fix}")
    return 0


def _backends(found: Registry, provider: Provider) -> list[str]:
    return [name for name, other in found.backend_providers.items() if other == provider]


def _targets(found: Registry, provider: Provider) -> list[str]:
    return [name for name, profile in found.targets.items() if profile.origin == str(provider)]


def _to_json(found: Registry) -> dict[str, Any]:
    return {
        "plugins": [
            {
                **_names(provider),
                "backends": _backends(found, provider),
                "targets": _targets(found, provider),
            }
            for provider in found.providers
        ],
        "problems": [
            {**_names(problem.provider), "sentence": problem.sentence, "fix": problem.fix}
            for problem in found.problems
        ],
    }


def _names(provider: Provider) -> dict[str, str]:
    return {
        "distribution": provider.distribution,
        "version": provider.version,
        "entry_point": provider.entry_point,
    }
