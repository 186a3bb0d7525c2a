"""``qhal bench``: run deployed artifacts again, on this machine, side by side."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from qhal.cli import options

if TYPE_CHECKING:
    from qhal.plugin.registry import Registry

SUMMARY = "run deployed artifacts again on this machine, side by side, and compare with the record"


def add_arguments(parser: options.Parser) -> None:
    """Everything of :func:`qhal.bench`."""
    parser.epilog = (
        "Targets with an emulator (see `qhal setup`) count executed instructions in it and "
        "compare every output with this host's, bit by bit. Exit code 1 if the runtime's "
        "reference kernels differ there, or if an artifact does not run; optimized kernels may "
        "differ, which is a warning. Exit code 3 if an artifact cannot run here and nothing else "
        "is known about it. Nothing in the folders is changed."
    )
    parser.add_argument(
        "folders", metavar="FOLDER", nargs="+", help="output folders of `qhal deploy`"
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="the .onnx file that the folders were made from: measured in float beside them",
    )
    parser.add_argument(
        "--data",
        metavar="D",
        help="take the first sample of this; like that of `qhal deploy` (default: random "
        "numbers in the planned range)",
    )
    parser.add_argument(
        "--preprocess",
        metavar="P",
        help=f"{', '.join(options.PREPROCESSINGS)} or a TOML file (default: data as they are)",
    )
    parser.add_argument(
        "--threads",
        type=options.whole(1),
        default=1,
        metavar="N",
        help="threads to measure with (default: 1)",
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace, registry: Registry | None = None) -> int:
    """Run the command; exit code 1 if an emulation computes something else than this host."""
    import qhal
    from qhal.cli import console
    from qhal.cli.bars import bars
    from qhal.errors import VerificationError
    from qhal.report import to_text

    given = dict(vars(arguments))
    folders, as_json = given.pop("folders"), given.pop("json")
    report = qhal.bench(*folders, progress=bars(), registry=registry, **given)
    if as_json:
        console.write_json(report.to_json())
    else:
        console.write(to_text(report))
    return 0 if report.ok else VerificationError.exit_code
