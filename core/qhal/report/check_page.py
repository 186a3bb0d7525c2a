"""The page of ``qhal check``: whether the target can run the model, operator by operator."""

from __future__ import annotations

from qhal.decisions import Code
from qhal.metric import counted
from qhal.quant.choice import Verdict
from qhal.report.page import Page, Section, Table
from qhal.report.record_page import decision_section
from qhal.results.check import CheckReport


def check_page(report: CheckReport) -> Page:
    """Lay out the answer of ``qhal check``: a headline and a table of operators."""
    rows = tuple(
        (
            group.op,
            str(group.count),
            group.verdict.value,
            f"{group.kernel} on {group.unit}" if group.unit else group.kernel,
            group.reason,
        )
        for group in report.groups
    )
    columns = ("operator", "count", "verdict", "kernel", "reason")
    sections = (
        Section("Operators", table=Table(columns, rows)),
        decision_section(d for d in report.decisions if d.code not in _SHOWN_BY_ROWS),
    )
    title = f"{report.model} for {report.target}, {report.recipe}"
    return Page(title, _headline(report), sections)


_SHOWN_BY_ROWS = frozenset(
    {
        *(Code.FLOAT_FALLBACK, Code.FOLLOWED_FLOAT, Code.OUTPUT_PROMOTED, Code.STEEP_OPERAND),
        *(Code.UNIT_FALLBACK, Code.REFUSED),
    }
)
"""Decisions that the table of operators shows already; see :meth:`Choice.decision`."""


def _headline(report: CheckReport) -> str:
    counts = report.counts
    total = counted(len(report.rows), "node")
    if counts[Verdict.REFUSED]:
        return f"No: the target has no kernel for {counts[Verdict.REFUSED]} of {total}."
    if report.objections:
        return f"No: {' '.join(report.objections)}"
    native = f"{counts[Verdict.NATIVE]} of {total} in the recipe's types"
    others = [
        f"{counts[verdict]} {words}"
        for verdict, words in (
            (Verdict.FALLBACK, "in float"),
            (Verdict.HOST, "on another unit"),
        )
        if counts[verdict]
    ]
    return f"Yes: {', '.join([native, *others])}."
