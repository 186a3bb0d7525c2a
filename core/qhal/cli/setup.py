"""``qhal setup``: prepare what a backend needs on this machine, such as an emulator."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from qhal.cli import console, options
from qhal.cli.bars import bars
from qhal.errors import OptionError

if TYPE_CHECKING:
    from qhal.plugin.setup import Setup

SUMMARY = "prepare what a target needs on this machine, or list what can be prepared"


def add_arguments(parser: options.Parser) -> None:
    """[NAME] --json."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="prepare this; without it, a list")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; exit code 3 if the machine lacks what the preparation needs."""
    from qhal.plugin.registry import registry

    found = {s.name: s for backend in registry().backends.values() for s in backend.setups()}
    if arguments.name is None:
        _list(found, arguments.json)
        return 0
    if arguments.name not in found:
        raise OptionError(
            f"There is nothing named {arguments.name!r} to set up.",
            f"{options.advice(arguments.name, found, 'qhal setup')} "
            f"Known: {', '.join(sorted(found)) or 'nothing'}.",
        )
    sentence = found[arguments.name].run(bars())
    if arguments.json:
        console.write_json({"name": arguments.name, "done": sentence})
    else:
        console.write(sentence)
    return 0


def _list(found: dict[str, Setup], as_json: bool) -> None:
    rows = [(s.name, s.title, s.missing() or "") for _, s in sorted(found.items())]
    if as_json:
        keys = ("name", "title", "missing")
        console.write_json([dict(zip(keys, row, strict=True)) for row in rows])
    else:
        console.table(("setup", "what it prepares", "missing"), rows)
