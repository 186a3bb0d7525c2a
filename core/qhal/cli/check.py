"""``qhal check``: whether a target can run a model, operator by operator, without data."""

from __future__ import annotations

import argparse
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
    from qhal.progress import SILENT
    from qhal.report import to_text
    from qhal.system.guard import guarded

    given = dict(vars(arguments))
    as_json, stage = given.pop("json"), given.pop("dump")
    given["outputs"] = tuple(given.pop("output"))
    given["shapes"] = options.shapes(given.pop("shape"))
    given["registry"] = registry
    if stage:
        from qhal.pipeline.dump import dump

        console.write(guarded(lambda wire: dump(stage, **given), SILENT))
        return 0
    report = qhal.check(**given)
    if as_json:
        console.write_json(report.to_json())
    else:
        console.write(to_text(report))
    return 0 if report.ok else RefusedError.exit_code
