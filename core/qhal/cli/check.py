"""``qhal check``: whether a target can run a model, operator by operator, without data."""

from __future__ import annotations

import argparse

from qhal.cli import options
from qhal.errors import RefusedError

SUMMARY = "say per operator whether a target can run a model, and why not; needs no data"


def add_arguments(parser: options.Parser) -> None:
    """Everything of :func:`qhal.check`."""
    options.add_model(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; exit code 1 if the target refuses a node."""
    import qhal
    from qhal.cli import console
    from qhal.report import check_page, to_text

    given = dict(vars(arguments))
    as_json = given.pop("json")
    shapes = options.shapes(given.pop("shape"))
    report = qhal.check(**given, shapes=shapes)
    if as_json:
        console.write_json(report.to_json())
    else:
        console.write(to_text(check_page(report)))
    return 0 if report.ok else RefusedError.exit_code
