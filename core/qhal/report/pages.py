"""The page of every result: what :func:`to_text` and :func:`to_markdown` render."""

from __future__ import annotations

from typing import assert_never

from qhal.report.bench_page import bench_page
from qhal.report.check_page import check_page
from qhal.report.explanation_page import explanation_page
from qhal.report.fleet_page import fleet_page, outcome_page
from qhal.report.page import Page
from qhal.report.record_page import record_page
from qhal.results.bench import BenchReport
from qhal.results.check import CheckReport
from qhal.results.explanation import Explanation
from qhal.results.fleet import Fleet, Outcome
from qhal.results.record import RunRecord

Result = RunRecord | CheckReport | BenchReport | Fleet | Outcome | Explanation
"""What a command answers."""


def page_of(result: Result | Page) -> Page:
    """Lay out a result for people; a page is taken as it is."""
    match result:
        case Page():
            return result
        case RunRecord():
            return record_page(result)
        case CheckReport():
            return check_page(result)
        case BenchReport():
            return bench_page(result)
        case Fleet():
            return fleet_page(result)
        case Outcome():
            return outcome_page(result)
        case Explanation():
            return explanation_page(result)
        case _:
            assert_never(result)
