"""``qhal doctor``: what is installed, what is missing, and the command that fixes it."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from qhal.cli import console, options
from qhal.errors import MissingDependencyError

if TYPE_CHECKING:
    from qhal.doctor import Check
    from qhal.plugin.registry import Registry

SUMMARY = "list what is installed, what is missing, and the command that fixes it"


def add_arguments(parser: options.Parser) -> None:
    """Declare [TARGET,…] --targets --json."""
    parser.epilog = (
        "Exit code 3: something is missing that qhal needs, or that an installed backend needs, "
        "such as a runtime, a compiler or an emulator. Exit code 0, with notes: this machine lacks "
        "a device, a plugin is broken, or something optional is missing."
    )
    parser.add_argument(
        "target",
        metavar="TARGET,…",
        nargs="?",
        type=options.names,
        default=[],
        help="check only what these targets need (default: everything)",
    )
    options.add_targets_file(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace, registry: Registry | None = None) -> int:
    """Run the command; exit code 3 if something is missing."""
    from qhal.doctor import CheckStatus, examine
    from qhal.plugin.registry import given_or_installed

    checks = examine(given_or_installed(registry, arguments.targets_file), arguments.target)
    if arguments.json:
        console.write_json([check.to_json() for check in checks])
    else:
        _print(checks)
    lacking = any(check.status in (CheckStatus.MISSING, CheckStatus.FAILED) for check in checks)
    return MissingDependencyError.exit_code if lacking else 0


def _print(checks: Sequence[Check]) -> None:
    """Print a line for each check, then what is wrong and the commands, which are not wrapped."""
    rows = [(check.status.value, check.subject, check.detail) for check in checks]
    console.table(("status", "what", "detail"), rows)
    for advice, found in _by_advice(checks).items():
        subjects = ", ".join(check.subject for check in found)
        console.write(f"\n{subjects}:\n{textwrap.indent(advice, '  ')}")


def _by_advice(checks: Iterable[Check]) -> dict[str, list[Check]]:
    found: dict[str, list[Check]] = {}
    for check in checks:
        if check.advice:
            found.setdefault(check.advice, []).append(check)
    return found
