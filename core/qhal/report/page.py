"""The content of a report, without its form: every rendering starts from a :class:`Page`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Rows of plain text.

    Attributes:
        columns: headings.
        rows: as many cells each as there are headings.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A heading with sentences, a table and a list; any of them may be empty."""

    title: str
    sentences: tuple[str, ...] = ()
    table: Table | None = None
    items: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """True if there is nothing under the heading."""
        return not (self.sentences or self.items or (self.table and self.table.rows))


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: what it is about.
        headline: the one thing to read.
        sections: in order; empty ones are not printed.
    """

    title: str
    headline: str
    sections: tuple[Section, ...]
