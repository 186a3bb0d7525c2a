"""A page as Markdown (GitHub flavor)."""

from __future__ import annotations

import re

from qhal.report.page import Page, Section, Table
from qhal.report.pages import Result, page_of
from qhal.words import one_line


def to_markdown(report: Result | Page) -> str:
    """Write a result, or a page of one, as ``report.md`` has it."""
    page = page_of(report)
    blocks = [f"# {_escape(page.title)}", f"**{_escape(page.headline)}**"]
    for section in page.sections:
        if not section.empty:
            blocks.extend(_section(section))
    return "\n\n".join(blocks) + "\n"


def _section(section: Section) -> list[str]:
    blocks = [f"## {_escape(section.title)}"]
    blocks.extend(_escape(sentence) for sentence in section.sentences)
    if section.table is not None and section.table.rows:
        blocks.append(_table(section.table))
    if section.items:
        blocks.append("\n".join(f"- {_escape(item)}" for item in section.items))
    return blocks


def _table(table: Table) -> str:
    rule = ("---",) * len(table.columns)
    return "\n".join(_row(cells) for cells in (table.columns, rule, *table.rows))


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(_escape(cell, in_table=True) for cell in cells) + " |"


_CODE = re.compile(r"(?<![`\\])`([^`]+)`(?!`)")
"""What stands between two single backticks is shown as it is, whatever it holds."""
_SPECIAL = re.compile(
    r"[\\`*<~$]|\](?=[(\[:])"  # code, emphasis, HTML, formulas, links
    r"|(?<![^\W_])_|_(?![^\W_])"  # emphasis; inside words it is none
    r"|&(?=#?\w+;)"  # a character by its number or name
    r"|(?<=http)s?:(?=//)|(?<=ftp):(?=//)|(?<=www)\.",  # links without brackets
    re.IGNORECASE,
)
_FIRST = re.compile(r"^(\d{1,9}(?=[.)]))?(?=[#>+=.)-])")
"""Where a line would begin a heading, a quotation, a list or a rule."""


def _escape(text: str, *, in_table: bool = False) -> str:
    """Escape text so that it shows as it is, on one line: names in models may hold anything."""
    line = one_line(" ".join(text.split()))
    parts, end = [], 0
    for code in _CODE.finditer(line):
        parts += [_escaped(line[end : code.start()]), code.group()]
        end = code.end()
    whole = "".join([*parts, _escaped(line[end:])])
    return whole.replace("|", "\\|") if in_table else _FIRST.sub(r"\g<1>\\", whole)


def _escaped(text: str) -> str:
    """Put a backslash before the last character of what is special."""
    return _SPECIAL.sub(lambda found: f"{found.group()[:-1]}\\{found.group()[-1]}", text)
