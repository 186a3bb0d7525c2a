"""Writing for people and programs: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from io import StringIO
from typing import IO, TYPE_CHECKING, Any

from qhal.errors import QhalError
from qhal.words import lines, one_line

if TYPE_CHECKING:
    from rich.console import Console

_PIPED_COLUMNS = 160


def console(stream: IO[str] | None = None) -> Console:
    """Make a rich console: colors on a terminal only, NO_COLOR honored, wide when piped."""
    from qhal.cli.piped import PipedConsole

    stream = stream or sys.stdout
    width = None if stream.isatty() else _PIPED_COLUMNS
    return PipedConsole(file=stream, width=width, highlight=False, markup=False, emoji=False)


def width() -> int:
    """Return the columns of a result."""
    return console().width


def keep_stdout_for_results() -> None:
    """Let whatever else is printed to stdout, by runtimes and child processes, go to stderr."""
    for descriptor in range(3):
        _open_if_closed(descriptor)
    for descriptor in (1, 2):
        with suppress(OSError):
            os.set_blocking(descriptor, True)  # a slow reader would cost the rest of a result
    try:
        sys.stdout.flush()
        results = os.dup(sys.stdout.fileno())
    except (OSError, ValueError):  # it was closed when the process started, or is none of ours
        return
    os.dup2(2, 1)
    sys.stdout = os.fdopen(results, "w", encoding=sys.stdout.encoding, errors="replace")
    vars(sys)["__stdout__"] = sys.stdout  # what the width of a terminal is asked of


def drop_results() -> None:
    """Keep Python from complaining again, while it shuts down, that a result has no place."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def has_lost_results() -> bool:
    """Return True if stdout takes no results; what is left of them is dropped then."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        drop_results()
        return True
    return False


def _open_if_closed(descriptor: int) -> None:
    """Keep a file that is opened later from taking the place of a standard stream."""
    try:
        os.fstat(descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def write(text: str) -> None:
    """Print a result; escape what would move a terminal's cursor."""
    shown = lines(text)
    sys.stdout.write(shown if shown.endswith("\n") else shown + "\n")


def write_json(value: Any) -> None:
    """Print a result for a program."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # of another code, or with names that are not UTF-8
        text = json.dumps(value, indent=2)
    sys.stdout.write(text + "\n")


def heading(title: str, rest: str = "") -> None:
    """Print a line whose beginning is bold on a terminal."""
    from rich.text import Text

    shown = Text.assemble((one_line(title), "bold"), one_line(rest))
    console().print(shown, soft_wrap=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a result as a table; cells are plain text."""
    from rich import box
    from rich.table import Column, Table

    headings = (Column(name, overflow="fold") for name in columns)  # nothing is cut off
    drawn = Table(
        *headings, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold"
    )
    for row in rows:
        drawn.add_row(*map(lines, row))
    console().print(drawn)


def error(problem: QhalError, more: str = "") -> None:
    """Print an error with its code, and below it what to do and what else there is to say."""
    hint = "\n".join(filter(None, (problem.hint, more)))
    complain(f"error {problem.code}: {problem.message}", hint)


def complain(headline: str, hint: str = "") -> None:
    """Print a headline on stderr, red on a terminal, with an indented hint.

    A stderr that nobody reads, or that has no room, changes no exit code.
    """
    start = headline.partition(":")[0]
    text = _red(one_line(start)) + lines(headline[len(start) :]) + "\n"
    if hint:
        text += textwrap.indent(lines(hint), "  ") + "\n"
    to_stderr(text)


def to_stderr(text: str) -> None:
    """Print on stderr, if it is there."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):  # no room, no reader, closed
        sys.stderr = StringIO()  # Python prints to it again when it ends


def _red(text: str) -> str:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain or not sys.stderr.isatty() else f"\x1b[1;31m{text}\x1b[0m"
