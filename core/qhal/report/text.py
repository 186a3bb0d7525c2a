"""A page as text for a terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from io import StringIO

from qhal.report.page import Page, Section, Table

_PIPED_COLUMNS = 120


def to_text(page: Page, width: int | None = None) -> str:
    """The page as plain text, without control characters.

    Args:
        page: what to print.
        width: columns; None for the terminal's, or 120 where there is none.
    """
    width = width or _width()
    blocks = [
        f"{page.title}\n{'=' * min(len(page.title), width)}",
        textwrap.fill(page.verdict, width),
    ]
    blocks.extend(_section(section, width) for section in page.sections if not section.empty)
    return "\n\n".join(blocks) + "\n"


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPED_COLUMNS


def _section(section: Section, width: int) -> str:
    lines = [section.title, "-" * len(section.title)]
    lines.extend(textwrap.fill(sentence, width) for sentence in section.sentences)
    if section.table is not None and section.table.rows:
        lines.append(_table(section.table, width))
    for item in section.items:
        lines.append(textwrap.fill(item, width, initial_indent="- ", subsequent_indent="  "))
    return "\n".join(lines)


def _table(table: Table, width: int) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(
        *table.columns,
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        show_header=any(table.columns),
    )
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    stream = StringIO()
    Console(file=stream, width=width, color_system=None, highlight=False).print(drawn)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())
