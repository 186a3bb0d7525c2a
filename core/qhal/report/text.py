"""A page as text for a terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from io import StringIO

from qhal.report.page import Page, Section, Table
from qhal.report.pages import Result, page_of
from qhal.words import lines, one_line

_PIPED_COLUMNS = 120
_GAP = 2
"""Blanks between two columns."""
_LONGEST_NAME = 20
"""What stands first in a row is not broken if it is no longer than that."""


def to_text(report: Result | Page, width: int | None = None) -> str:
    """Write a result, or a page of one, as plain text without control characters.

    Args:
        report: what to print.
        width: columns; None for the terminal's, or 120 where there is none.
    """
    page, width = page_of(report), width or _width()
    title = one_line(page.title)
    blocks = [
        f"{title}\n{'=' * min(len(title), width)}",
        _fill(page.headline, width),
    ]
    blocks.extend(_section(section, width) for section in page.sections if not section.empty)
    return "\n\n".join(blocks) + "\n"


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPED_COLUMNS


def _section(section: Section, width: int) -> str:
    title = one_line(section.title)
    rows = [title, "-" * len(title)]
    rows.extend(_fill(sentence, width) for sentence in section.sentences)
    if section.table is not None and section.table.rows:
        rows.append(_table(section.table, width))
    for item in section.items:
        first, *others = item.splitlines()
        rows.append(_fill(first, width, "- "))
        rows.extend(_fill(line, width, "  ") for line in others)
    return "\n".join(rows)


def _fill(text: str, width: int, start: str = "") -> str:
    """Wrap text between words: commands and names keep their hyphens."""
    return textwrap.fill(
        one_line(" ".join(text.split())),
        width,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_on_hyphens=False,
        break_long_words=False,
    )


def _shown(row: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(lines, row))


def _column_widths(table: Table, width: int) -> list[int] | list[None]:
    """Narrow the widest columns first, but break no word as long as there is room.

    Returns:
        One width per column; None for each where not even the words have room.
    """
    from rich.cells import cell_len

    columns = list(zip(table.columns, *table.rows, strict=True))
    full = [max(map(cell_len, cells)) for cells in columns]
    least = [max(cell_len(word) for cell in cells for word in cell.split(" ")) for cells in columns]
    if full[0] <= _LONGEST_NAME:
        least[0] = full[0]
    room = width - _GAP * (len(columns) - 1)
    for cap in range(max(full), 0, -1):
        widths = [max(low, min(high, cap)) for low, high in zip(least, full, strict=True)]
        if sum(widths) <= room:
            return widths
    return [None] * len(columns)


def _table(table: Table, width: int) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Column
    from rich.table import Table as RichTable
    from rich.text import Text

    table = Table(tuple(map(one_line, table.columns)), tuple(map(_shown, table.rows)))
    widths = _column_widths(table, width)
    drawn = RichTable(
        *(  # nothing is cut off
            Column(name, overflow="fold", width=wide)
            for name, wide in zip(table.columns, widths, strict=True)
        ),
        box=box.SIMPLE_HEAD,
        padding=(0, _GAP - 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        show_header=any(table.columns),
    )
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    stream = StringIO()
    Console(file=stream, width=width, color_system=None, highlight=False).print(drawn)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())
