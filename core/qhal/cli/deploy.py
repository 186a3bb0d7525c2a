"""``qhal deploy``: quantize a model for a target, verify it, measure it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from qhal.cli import options

if TYPE_CHECKING:
    from qhal.plugin.registry import Registry

SUMMARY = "quantize a model for a target, check it against the float model, and measure it"


def add_arguments(parser: options.Parser) -> None:
    """Declare the arguments of :func:`qhal.deploy`."""
    options.add_model(parser, several=True)
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        required=True,
        metavar="D",
        help="calibration data: .npz, folder of .npy or images, or package.module:function",
    )
    data.add_argument(
        "--eval", metavar="E", help="evaluation data (default: what calibration does not use)"
    )
    data.add_argument(
        "--preprocess",
        metavar="P",
        help=f"{', '.join(options.PREPROCESSINGS)} or a TOML file (default: data as they are)",
    )
    data.add_argument("--labels", metavar="L", help="a labels.csv, or the name of an array")
    data.add_argument(
        "--label-offset", type=int, default=0, metavar="N", help="number to add to every label"
    )
    data.add_argument(
        "--calib-samples",
        type=options.whole(1),
        default=128,
        metavar="N",
        help="samples to calibrate with, spread evenly (default: 128)",
    )
    data.add_argument(
        "--eval-samples",
        type=options.whole(1),
        metavar="N",
        help="samples to evaluate on, spread evenly. Default: all. A slow runtime, such as a "
        "microcontroller's interpreter, gets as many as it runs in about half a minute; without a "
        "runtime, the oracle gets as many as it computes in a few seconds.",
    )
    data.add_argument(
        "--observer",
        choices=options.OBSERVERS,
        default="mse",
        help="range estimator: chooses each tensor's range from the values seen in calibration "
        "(default: mse)",
    )
    data.add_argument(
        "--no-cache",
        dest="cache",
        action="store_false",
        help="neither read nor keep calibration statistics",
    )
    data.add_argument(
        "--state",
        action="append",
        type=options.state,
        metavar="OUT=IN",
        help="an output that feeds an input in the next frame (repeatable); none for a model "
        "without states (default: recognized by type and name)",
    )
    _add_output(parser)


def _add_output(parser: options.Parser) -> None:
    gates = parser.add_argument_group("gates (exit code 1 if one is not met)")
    gates.add_argument(
        "--max-fallback",
        type=options.whole(0),
        metavar="N",
        help="at most N nodes may run in float or on another unit",
    )
    gates.add_argument(
        "--max-drop",
        type=options.points,
        metavar="PP",
        help="top-1 may drop by at most PP percentage points (default: 1, or more if the drop "
        "may be chance; 100 allows any drop); for a model with states: percentage of its "
        "decisions that may differ in the loop (default: 3)",
    )
    gates.add_argument(
        "--allow-chance",
        action="store_true",
        help="deploy even if the float model is right no more often than by chance",
    )
    gates.add_argument(
        "--keep-refused",
        metavar="DIR",
        help="if the artifact is refused, write its record and report to DIR, but not the artifact "
        "itself; with several targets, to one folder for each in DIR",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out",
        metavar="DIR",
        help="the output folder; with several targets, one folder for each is made in it "
        "(default: MODEL-TARGET-RECIPE in the working folder)",
    )
    output.add_argument("--force", action="store_true", help="replace an output folder of qhal")
    options.add_threads(output)
    options.add_json(output)


def run(arguments: argparse.Namespace, registry: Registry | None = None) -> int:
    """Run the command."""
    from qhal.cli.bars import bars

    given = dict(vars(arguments))
    as_json = given.pop("json")
    given["outputs"] = tuple(given.pop("output"))
    given["shapes"] = options.shapes(given.pop("shape"))
    given["state"] = options.states(given["state"] or [])
    given["progress"], given["registry"] = bars(), registry
    targets = given.pop("target")
    if len(targets) == 1:
        return _deploy_one(targets[0], given, as_json)
    return _deploy_all(targets, given, as_json)


def _deploy_one(target: str, given: dict[str, Any], as_json: bool) -> int:
    import qhal
    from qhal.cli import console
    from qhal.report import to_text

    record = qhal.deploy(target=target, **given)
    if as_json:
        console.write_json(record.to_json())
    else:
        console.write(to_text(record))
    return 0


def _deploy_all(targets: list[str], given: dict[str, Any], as_json: bool) -> int:
    import qhal
    from qhal.cli import console
    from qhal.report import to_text

    fleet = qhal.deploy_all(targets=targets, **given)
    if as_json:
        console.write_json(fleet.to_json())
    else:
        console.write(to_text(fleet))
    return fleet.exit_code
