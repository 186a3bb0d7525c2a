"""Options that several commands share, and a parser that complains like the rest of qhal."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from qhal.errors import OptionError

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

RECIPES = (
    *("w8a8", "w8a16", "w8", "w4a8", "w4a16", "w4", "w3a8", "w2a8"),
    *("nf4", "fp16", "bf16"),
)
OBSERVERS = ("minmax", "percentile", "mse")
PREPROCESSINGS = ("imagenet-torch", "imagenet-tf", "unit", "raw", "raw-bgr")


class Parser(argparse.ArgumentParser):
    """argparse, except that errors are OptionErrors with near matches, and nothing is guessed."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing usage and exiting."""
        raise OptionError(f"{message[:1].upper()}{message[1:]}.", self._advice(message))

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Print the help; argparse keeps silent where nobody reads it, or the disk is full."""
        (file or sys.stdout).write(self.format_help())

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Exit once what was printed has arrived."""
        sys.stdout.flush()
        super().exit(status, message)

    def _advice(self, message: str) -> str:
        wrong = re.search(r"invalid choice: '([^']*)'", message)
        choices = [str(c) for action in self._actions for c in action.choices or ()]
        return advice(wrong[1], choices, self.prog) if wrong else f"See {self.prog} --help."

    def options(self) -> list[str]:
        """List all option strings."""
        return [text for action in self._actions for text in action.option_strings]


def advice(wrong: str, known: Iterable[str], program: str) -> str:
    """Suggest the nearest known word; the dashes of options do not count."""
    words = {word.lstrip("-"): word for word in known}
    near = difflib.get_close_matches(wrong.lstrip("-"), list(words), 1)
    return f"Did you mean {words[near[0]]}?" if near else f"See {program} --help."


def add_model(parser: Parser, *, several: bool = False) -> None:
    """Declare MODEL, --target, --recipe, --shape, --output, --keep-layout, --targets.

    Args:
        parser: of the command.
        several: take a list of targets instead of one.
    """
    parser.add_argument("model", metavar="MODEL", help="the float model, an .onnx file")
    parser.add_argument(
        "--target",
        required=True,
        metavar="T,…" if several else "T",
        type=names if several else one_name,
        help=f"the device{', or several joined by commas' if several else ''}; see `qhal targets`",
    )
    parser.add_argument(
        "--recipe", default="w8a8", metavar="R", help=f"{', '.join(RECIPES)} (default: w8a8)"
    )
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        type=shape,
        metavar="NAME=D,D,…",
        help="set the free dimensions of an input, such as input=1,3,224,224 (repeatable)",
    )
    parser.add_argument(
        "--output",
        action="append",
        default=[],
        metavar="NAME",
        help="end the model at this tensor instead of at its own outputs (repeatable); what lies "
        "behind, such as a detector's last Concat, is left to your program",
    )
    parser.add_argument(
        "--keep-layout",
        action="store_true",
        help="keep the model's order of dimensions at inputs and outputs (adds transposes)",
    )
    add_targets_file(parser)


def add_targets_file(parser: Parser) -> None:
    """Declare --targets."""
    parser.add_argument(
        "--targets",
        dest="targets_file",
        type=Path,
        metavar="FILE",
        help="a targets.toml with devices of your own (default: the one in the working folder)",
    )


def add_threads(parser: argparse._ActionsContainer) -> None:
    """Declare --threads."""
    parser.add_argument(
        "--threads",
        type=whole(1),
        default=1,
        metavar="N",
        help="threads to measure with (default: 1)",
    )


def add_json(parser: argparse._ActionsContainer) -> None:
    """Declare --json."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def one_name(text: str) -> str:
    """Take the name of one target; a list is another command's."""
    if "," in text:
        raise argparse.ArgumentTypeError(
            f"{text!r} names several targets, and this command takes one; run it once for each"
        )
    return text


def names(text: str) -> list[str]:
    """Parse ``cpu,edgetpu`` into ["cpu", "edgetpu"]; each name once."""
    listed = [name.strip() for name in text.split(",")]
    if not all(listed) or len(set(listed)) < len(listed):
        raise argparse.ArgumentTypeError(
            f"{text!r} does not name each target once, separated by commas"
        )
    return listed


def shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Parse ``input=1,3,224,224`` into ("input", (1, 3, 224, 224)); a name may contain "="."""
    name, _, listed = text.rpartition("=")
    if not name or not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", listed):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=D,D,…, such as input=1,3,224,224")
    return name, tuple(int(d) for d in listed.split(","))


def shapes(pairs: Sequence[tuple[str, tuple[int, ...]]]) -> Mapping[str, tuple[int, ...]]:
    """Collect the --shape options in one mapping."""
    bound = dict(pairs)
    if len(bound) < len(pairs):
        twice = next(name for name in bound if sum(name == other for other, _ in pairs) > 1)
        raise OptionError(f"Argument --shape: {twice!r} is given twice.")
    return bound


def state(text: str) -> tuple[str, str] | None:
    """Parse ``hn=h`` into ("hn", "h"), and ``none`` into None; a name may contain "="."""
    if text == "none":
        return None
    output, _, name = text.rpartition("=")
    if not output or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not OUTPUT=INPUT, such as hn=h, or none")
    return output, name


def states(pairs: Sequence[tuple[str, str] | None]) -> Mapping[str, str] | None:
    """Collect the --state options in one mapping; None where there are none."""
    named = [pair for pair in pairs if pair is not None]
    if named and len(named) < len(pairs):
        raise OptionError("Argument --state: none excludes every other --state.")
    bound = dict(named)
    if len(bound) < len(named):
        twice = next(name for name in bound if sum(name == other for other, _ in named) > 1)
        raise OptionError(f"Argument --state: the output {twice!r} is given twice.")
    return bound if pairs else None


def whole(least: int) -> Callable[[str], int]:
    """Make a parser of whole numbers of at least ``least``."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return int(text)

    return parse


def points(text: str) -> float:
    """Parse percentage points, 0 to 100."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 100")
    return value
