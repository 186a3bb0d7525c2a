"""``qhal setup``: prepare what a backend needs on this machine, such as an emulator."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from qhal.cli import console, options
from qhal.cli.bars import bars
from qhal.errors import OptionError, PluginError, QhalError

if TYPE_CHECKING:
    from qhal.plugin.machine_setup import Setup
    from qhal.plugin.provided import Provided
    from qhal.plugin.registry import Registry

SUMMARY = "prepare what a target needs on this machine, or list what can be prepared"


def add_arguments(parser: options.Parser) -> None:
    """Declare [NAME] --json."""
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="what to prepare (default: list it)"
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace, registry: Registry | None = None) -> int:
    """Run the command; exit code 3 if the machine lacks what the preparation needs."""
    from qhal.plugin.registry import given_or_installed

    known = given_or_installed(registry)
    offers = [offer for name in known.backends for offer in _offers(known.provided(name))]
    if arguments.name is None:
        _list([setup for _, setup in offers], arguments.json)
        return 0
    sentence = _chosen(arguments.name, offers).run(bars())
    if arguments.json:
        console.write_json({"name": arguments.name, "done": sentence})
    else:
        console.write(sentence)
    return 0


def _offers(provided: Provided) -> list[tuple[Provided, Setup]]:
    """List what a backend prepares; print the error of a broken one, so that it hides no other."""
    from qhal.plugin.backend import Backend
    from qhal.plugin.calls import call

    try:
        return [(provided, setup) for setup in call(provided, Backend.setups)]
    except QhalError as error:
        console.error(error)
        return []


def _chosen(name: str, offers: list[tuple[Provided, Setup]]) -> Setup:
    """Find the setup of this name.

    Raises:
        OptionError: there is none.
        PluginError: there are several.
    """
    found = [(provided, setup) for provided, setup in offers if setup.name == name]
    if not found:
        known = sorted({setup.name for _, setup in offers})
        raise OptionError(
            f"There is no setup {name!r}.",
            f"{options.advice(name, known, 'qhal setup')} Known: {', '.join(known) or 'nothing'}.",
        )
    if len(found) > 1:
        rivals = " and ".join(provided.name for provided, _ in found)
        raise PluginError(
            f"The setup {name!r} is provided by {rivals}, so neither was run.",
            "Uninstall the one that you do not need; `qhal plugins` lists them.",
        )
    [(_, setup)] = found
    return setup


def _list(setups: list[Setup], as_json: bool) -> None:
    ordered = sorted(setups, key=lambda setup: setup.name)
    rows = [(s.name, s.title, _missing(s)) for s in ordered]
    if as_json:
        keys = ("name", "title", "missing")
        console.write_json([dict(zip(keys, row, strict=True)) for row in rows])
    else:
        console.table(("setup", "what it prepares", "missing"), rows)


def _missing(setup: Setup) -> str:
    """Say why it is not ready; a broken one hides no other."""
    try:
        return str(setup.missing() or "")
    except QhalError as error:
        return error.message
