"""Writing for people and programs: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

from qhal.errors import QhalError

if TYPE_CHECKING:
    from rich.console import Console

_PIPED_COLUMNS = 160


def console(stream: IO[str] | None = None) -> Console:
    """A rich console: colors on a terminal only, NO_COLOR honored, wide when piped."""
    from rich.console import Console

    stream = stream or sys.stdout
    width = None if stream.isatty() else _PIPED_COLUMNS
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def width() -> int:
    """Columns of a result."""
    return console().width


def write(text: str) -> None:
    """A result, as it is."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def write_json(value: Any) -> None:
    """A result for a program."""
    write(json.dumps(value, indent=2, ensure_ascii=False))


def heading(title: str, rest: str = "") -> None:
    """A line whose beginning is bold on a terminal."""
    from rich.text import Text

    console().print(Text.assemble((title, "bold"), rest), soft_wrap=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A result as a table; cells are plain text."""
    from rich import box
    from rich.table import Column, Table

    headings = (Column(name, overflow="fold") for name in columns)  # nothing is cut off
    drawn = Table(
        *headings, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold"
    )
    for row in rows:
        drawn.add_row(*row)
    console().print(drawn)


def error(problem: QhalError, more: str = "") -> None:
    """An error with its code, and below it what to do, and what else there is to say."""
    hint = "\n".join(filter(None, (problem.hint, more)))
    complain(f"error {problem.code}: {problem.message}", hint)


def complain(headline: str, hint: str = "") -> None:
    """A headline on stderr, red on a terminal, with an indented hint."""
    start = headline.partition(":")[0]
    sys.stderr.write(_red(start) + headline[len(start) :] + "\n")
    if hint:
        sys.stderr.write(textwrap.indent(hint, "  ") + "\n")


def _red(text: str) -> str:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain or not sys.stderr.isatty() else f"\x1b[1;31m{text}\x1b[0m"
