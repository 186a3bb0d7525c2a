"""``qhal check``: whether a target can run a model, operator by operator, without data."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from qhal.cli import console, options
from qhal.errors import RefusedError

if TYPE_CHECKING:
    from qhal.plugin.registry import Registry

SUMMARY = "show for each operator whether a target can run it, and why not; needs no data"


def add_arguments(parser: options.Parser) -> None:
    """Declare the arguments of :func:`qhal.check`, and --dump."""
    options.add_model(parser)
    options.add_json(parser)
    parser.add_argument(
        "--dump",
        choices=("imported", "legal", "laid"),
        help="print the graph instead: as imported; rewritten in the target's operators (legal); "
        "or rewritten and in the target's layout (laid)",
    )


def run(arguments: argparse.Namespace, registry: Registry | None = None) -> int:
    """Run the command; exit code 1 if the target refuses a node."""
    import qhal
    from qhal.report import to_text

    given = dict(vars(arguments))
    as_json, dump = given.pop("json"), given.pop("dump")
    given["shapes"] = options.shapes(given.pop("shape"))
    given["registry"] = registry
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
    registry: Registry | None,
) -> str:
    """Print the graph after one stage of the line."""
    from qhal.ir.importer import import_model
    from qhal.ir.text import to_text
    from qhal.pipeline.prepare import prepare
    from qhal.pipeline.served import find_target
    from qhal.plugin.calls import naming

    served = find_target(target, recipe, targets_file, registry=registry)
    imported = import_model(model, shapes)
    with naming(served.provided, "capabilities"):
        ready = prepare(served.target, imported, keep_layout=keep_layout)
    graphs = {
        "imported": ready.imported.graph,
        "legal": ready.legal.graph,
        "laid": ready.laid.graph,
    }
    return to_text(graphs[stage])
