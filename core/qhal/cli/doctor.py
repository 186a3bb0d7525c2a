"""``qhal doctor``: what is installed, what is missing, and the command that mends it."""

from __future__ import annotations

import argparse

from qhal.cli import console, options
from qhal.errors import MissingDependencyError

SUMMARY = "say what is installed, what is missing, and the command that mends it"


def add_arguments(parser: options.Parser) -> None:
    """--json."""
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; exit code 3 if something is missing that qhal cannot do without."""
    from qhal.doctor import Status, examine
    from qhal.plugin.registry import registry

    checks = examine(registry())
    if arguments.json:
        console.write_json([check.to_json() for check in checks])
    else:
        rows = [(c.status.value, c.subject, c.detail, c.mend) for c in checks]
        console.table(("status", "what", "detail", "mend"), rows)
    failed = any(check.status is Status.FAILED for check in checks)
    return MissingDependencyError.exit_code if failed else 0
