"""The summary of a run for several targets, one row each; and the page of one outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from qhal.decisions import Code, Decision, Severity
from qhal.metric import Metric, counted, format_value
from qhal.report.headline import target_words, worst_cell
from qhal.report.metrics import NOTHING, cell
from qhal.report.page import Page, Section, Table
from qhal.report.record_page import record_page
from qhal.results.fleet import Fleet, Outcome
from qhal.results.record import RunRecord

_COLUMNS = ("target", "top-1", "drop", "samples", "SQNR", "speed", "artifact", "warn")


def fleet_page(fleet: Fleet) -> Page:
    """Lay out one table over all targets, then why some failed."""
    failed = [outcome for outcome in fleet.outcomes if outcome.error is not None]
    done = len(fleet.outcomes) - len(failed)
    rows = tuple(_row(outcome) for outcome in fleet.outcomes)
    folders = ", ".join(str(o.folder) for o in fleet.outcomes if o.folder is not None)
    written = (f"Written: {folders}.",) if folders else ()
    accuracy = tuple(_float_words(fleet))
    sections = (
        Section("Targets", (*written, *accuracy), Table(_COLUMNS, rows)),
        _warned(fleet),
        Section("Failed", items=tuple(_failure(outcome) for outcome in failed)),
    )
    headline = f"Done: {done} of {counted(len(fleet.outcomes), 'target')}."
    return Page(f"{fleet.model} for {counted(len(fleet.outcomes), 'target')}", headline, sections)


def outcome_page(outcome: Outcome) -> Page:
    """Lay out one outcome: its record as it is, or why the target failed."""
    if outcome.record is not None:
        return record_page(outcome.record)
    failed = Section("Failed", items=(_failure(outcome),))
    return Page(f"{outcome.target}: failed", "Failed: no artifact was written.", (failed,))


def _row(outcome: Outcome) -> tuple[str, ...]:
    if outcome.record is None:
        return (outcome.target, "failed", *[""] * (len(_COLUMNS) - 2))
    metrics = outcome.record.metrics
    return (
        outcome.target,
        cell(metrics, "top1"),
        _drop(metrics),
        _value(metrics, "evaluation_samples"),
        worst_cell(metrics) or NOTHING,
        target_words(metrics) or _host_words(metrics),
        cell(metrics, "size_artifact"),
        str(len(_warnings(outcome.record)) or NOTHING),
    )


def _warnings(record: RunRecord) -> tuple[Decision, ...]:
    return tuple(d for d in record.decisions if d.severity is Severity.WARNING)


def _warned(fleet: Fleet) -> Section:
    """Each code of a warning, the targets that have it, and the first of its sentences."""
    targets: dict[Code, list[str]] = {}
    sentences: dict[Code, str] = {}
    for outcome in fleet.outcomes:
        for decision in _warnings(outcome.record) if outcome.record else ():
            targets.setdefault(decision.code, []).append(outcome.target)
            sentences.setdefault(decision.code, decision.sentence)
    rows = tuple(
        (code.id, ", ".join(dict.fromkeys(names)), sentences[code])
        for code, names in sorted(targets.items(), key=lambda item: item[0].id)
    )
    return Section("Warnings", table=Table(("code", "targets", "for example"), rows))


def _drop(metrics: Mapping[str, Metric]) -> str:
    """Write the drop in points, with the longer arm of its band."""
    drop = metrics.get("top1_drop")
    if drop is None or drop.low is None or drop.high is None:
        return NOTHING
    return f"{drop.value:.2f} ±{max(drop.value - drop.low, drop.high - drop.value):.1f}"


def _float_words(fleet: Fleet) -> Iterator[str]:
    """Say what the column of drops refers to, where there are labels."""
    found = [o.record.metrics for o in fleet.outcomes if o.record is not None]
    shares = {metrics["top1_float"].value for metrics in found if "top1_float" in metrics}
    if shares:
        ends = dict.fromkeys(format_value(end, "fraction") for end in (min(shares), max(shares)))
        samples = ", depending on the samples" if len(ends) > 1 else ""
        share = " to ".join(ends)
        yield f"Top-1 of the float model: {share}{samples}; drops are in percentage points."


def _failure(outcome: Outcome) -> str:
    """Say why a target failed, and below it what to do."""
    error = outcome.error
    assert error is not None
    return f"{outcome.target}: error {error.code}: {error.message}\n{error.hint}".rstrip()


def _value(metrics: Mapping[str, Metric], name: str) -> str:
    """Write a number without its band."""
    found = metrics.get(name)
    return NOTHING if found is None else format_value(found.value, found.unit)


def _host_words(metrics: Mapping[str, Metric]) -> str:
    p50 = _value(metrics, "latency_host_p50")
    return p50 if p50 == NOTHING else f"{p50} on this host"
