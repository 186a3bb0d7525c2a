"""A page as Markdown (GitHub flavor)."""

from __future__ import annotations

from qhal.report.page import Page, Section, Table
from qhal.report.pages import Result, page_of


def to_markdown(report: Result | Page) -> str:
    """Write a result, or a page of one, as ``report.md`` has it."""
    page = page_of(report)
    blocks = [f"# {_escape(page.title)}", f"**{_escape(page.verdict)}**"]
    for section in page.sections:
        if not section.empty:
            blocks.extend(_section(section))
    return "\n\n".join(blocks) + "\n"


def _section(section: Section) -> list[str]:
    blocks = [f"## {section.title}"]
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
    return "| " + " | ".join(_escape(cell).replace("|", "\\|") for cell in cells) + " |"


def _escape(text: str) -> str:
    """One line, with the characters that names in models bring and Markdown would eat."""
    line = " ".join(text.split())
    if "`" in line:  # holds code already
        return line
    for character in "\\*<":
        line = line.replace(character, f"\\{character}")
    return line
