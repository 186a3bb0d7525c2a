"""``qhal explain``: everything that a record says about one node."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from qhal.cli import console, options

if TYPE_CHECKING:
    from qhal.plugin.registry import Registry

SUMMARY = "show what was decided about one node or tensor of a deployed model, and why"


def add_arguments(parser: options.Parser) -> None:
    """Declare RECORD NODE --json."""
    parser.add_argument(
        "record", metavar="RECORD", help="an output folder, or the record.json in it"
    )
    parser.add_argument("node", metavar="NODE", help="name of a node or tensor")
    options.add_json(parser)


def run(arguments: argparse.Namespace, _registry: Registry | None = None) -> int:
    """Run the command; a record needs no plugins."""
    from qhal.report import to_text
    from qhal.results.explanation import explain

    explanation = explain(arguments.record, arguments.node)
    if arguments.json:
        console.write_json(explanation.to_json())
    else:
        console.write(to_text(explanation))
    return 0
