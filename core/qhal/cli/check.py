"""``qhal check``: whether a target can run a model, operator by operator, without data."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from qhal.cli import console, options
from qhal.errors import RefusedError

SUMMARY = "say per operator whether a target can run a model, and why not; needs no data"


def add_arguments(parser: options.Parser) -> None:
    """Everything of :func:`qhal.check`, and --dump."""
    options.add_model(parser)
    options.add_json(parser)
    parser.add_argument(
        "--dump",
        choices=("imported", "legal", "laid"),
        help="print the graph instead: as imported, in the target's operators, or in its layout",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command; exit code 1 if the target refuses a node."""
    import qhal
    from qhal.report import to_text

    given = dict(vars(arguments))
    as_json, dump = given.pop("json"), given.pop("dump")
    given["shapes"] = options.shapes(given.pop("shape"))
    if dump:
        console.write(_dumped(dump, **given))
        return 0
    report = qhal.check(**given)
    if as_json:
        console.write_json(report.to_json())
    else:
        console.write(to_text(report))
    return 0 if report.ok else RefusedError.exit_code


def _dumped(
    stage: str,
    model: str,
    target: str,
    recipe: str,
    shapes: Mapping[str, tuple[int, ...]],
    keep_layout: bool,
    targets_file: Path | None,
) -> str:
    """The graph after one stage of the line."""
    from qhal.ir.text import to_text
    from qhal.pipeline.prepare import find_target, prepare, read_model

    found = find_target(target, recipe, targets_file)
    ready = prepare(found, read_model(model, shapes), keep_layout=keep_layout)
    graphs = {
        "imported": ready.imported.graph,
        "legal": ready.legal.graph,
        "laid": ready.laid.graph,
    }
    return to_text(graphs[stage])
