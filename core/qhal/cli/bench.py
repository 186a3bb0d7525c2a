"""``qhal bench``: run deployed artifacts again, on this machine, side by side."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from qhal.cli import options

if TYPE_CHECKING:
    from qhal.plugin.registry import Registry

SUMMARY = "run deployed artifacts again on this machine, side by side, and compare with the record"


def add_arguments(parser: options.Parser) -> None:
    """Declare the arguments of :func:`qhal.bench`."""
    parser.epilog = (
        "For targets with an emulator (see `qhal setup`), this counts executed instructions and "
        "compares every output of the emulator with this host's, bit by bit. Exit code 1: the "
        "runtime's reference kernels differ in the emulator, or an artifact fails to run. "
        "Optimized kernels may differ; that is a warning. Exit code 3: an artifact cannot run "
        "here, and nothing else is known about it. The folders are not changed."
    )
    parser.add_argument(
        "folders", metavar="FOLDER", nargs="+", help="output folders of `qhal deploy`"
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="the .onnx file that the folders were made from; it is measured in float, too",
    )
    parser.add_argument(
        "--data",
        metavar="D",
        help="run on the first sample of these data, given as for `qhal deploy` (default: random "
        "numbers in the planned range)",
    )
    parser.add_argument(
        "--preprocess",
        metavar="P",
        help=f"{', '.join(options.PREPROCESSINGS)} or a TOML file (default: data as they are)",
    )
    options.add_threads(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace, registry: Registry | None = None) -> int:
    """Run the command; exit code 1 if an emulation must agree with this host and does not."""
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
