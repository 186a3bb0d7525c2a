"""The page of ``qhal bench``: the artifacts side by side, then each one next to its record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePath

from qhal.metric import format_value
from qhal.report.headline import target_words
from qhal.report.metrics import NOTHING, cell, labeled
from qhal.report.page import Page, Section, Table
from qhal.report.record_page import host_words
from qhal.results.bench import BenchReport, BenchResult

_P50 = "latency_host_p50"

_COLUMNS: Mapping[str, Callable[[BenchResult], str]] = {
    "target": lambda result: result.recorded.target,
    "p50 here": lambda result: cell(result.metrics, _P50),
    "speed vs. first": lambda result: cell(result.metrics, "speedup_first"),
    "speed vs. float": lambda result: cell(result.metrics, "speedup_host"),
    "p50 recorded": lambda result: cell(result.recorded.metrics, _P50),
    "recorded on": lambda result: result.recorded.host if _P50 in result.recorded.metrics else "",
}


def bench_page(report: BenchReport) -> Page:
    """Lay out a table over all folders, one for each, and what the numbers cannot say."""
    named = dict(zip(_names(report.results), report.results, strict=True))
    where = host_words(report.host, report.versions, report.qhal)
    sections = (
        Section("On this host", (f"{where}.",), _side_by_side(named)),
        *(_figures(name, result) for name, result in named.items()),
        Section("Decisions", items=tuple(_decisions(named))),
    )
    title = "1 folder" if len(named) == 1 else f"{len(named)} folders"
    return Page(f"Bench of {title}", _headline(named), sections)


def _names(results: Sequence[BenchResult]) -> list[str]:
    """Shorten the folders to their last parts, if these are different."""
    names = [PurePath(result.folder).name for result in results]
    distinct = len(set(names)) == len(names) and all(names)
    return names if distinct else [result.folder for result in results]


def _headline(named: Mapping[str, BenchResult]) -> str:
    failed = [name for name, result in named.items() if not result.ok]
    if failed:
        names = ", ".join(failed)
        return f"Not proven: {names} gives different results in emulation and on this host."
    return f"{'; '.join(f'{name}: {_words(result)}' for name, result in named.items())}."


def _words(result: BenchResult) -> str:
    metrics = result.metrics
    words = "not timed on this host"
    if _P50 in metrics:
        p50 = metrics[_P50]
        words = f"{format_value(p50.value, p50.unit)} on this host"
    own = target_words(metrics)
    return f"{words}, {own} on the target" if own else words


def _side_by_side(named: Mapping[str, BenchResult]) -> Table:
    """Lay out one row per folder, without columns that would be empty."""
    columns = {
        heading: [shown(result) for result in named.values()] for heading, shown in _COLUMNS.items()
    }
    used = {h: cells for h, cells in columns.items() if any(c not in ("", NOTHING) for c in cells)}
    return Table(("folder", *used), tuple(zip(named, *used.values(), strict=True)))


def _figures(name: str, result: BenchResult) -> Section:
    """Lay out every number of today next to that of the record."""
    recorded = result.recorded
    run_on = f"ran on {result.runtime}" if result.runtime else "not run on this machine"
    then = recorded.runtime and recorded.runtime != result.runtime
    before = f" (recorded on {recorded.runtime})" if then else ""
    where = "" if result.folder == name else f"{result.folder}: "
    about = f"{where}{recorded.model} for {recorded.target}, {recorded.recipe}"
    sentences = [f"{about}, {run_on}{before}. Input: {result.sample}."]
    if _P50 in recorded.metrics:
        conditions = recorded.metrics[_P50].note
        sentences.append(f"The recorded latencies were measured on: {recorded.host}, {conditions}.")
    columns = ("figure", "now", "recorded", "basis", "note")
    return Section(name, tuple(sentences), Table(columns, tuple(_rows(result))))


def _rows(result: BenchResult) -> Iterator[tuple[str, ...]]:
    """Write a row per number, recorded ones included; do not repeat the note of the row above."""
    now, then = result.metrics, result.recorded.metrics
    above = ""
    for name, label in labeled({**then, **now}):
        metric = now.get(name, then.get(name))
        assert metric is not None
        note = metric.note if name in now else "only in the record"
        yield label, cell(now, name), cell(then, name), metric.basis.value, _unless(above, note)
        above = note


def _unless(above: str, note: str) -> str:
    return "" if note == above else note


def _decisions(named: Mapping[str, BenchResult]) -> Iterator[str]:
    for name, result in named.items():
        for decision in result.decisions:
            about = f"{decision.code.id}, {decision.severity.value}"
            yield f"{name}: {decision.sentence} ({about})"
