"""The summary of a run for several targets: one row each."""

from __future__ import annotations

from collections.abc import Mapping

from qhal.fleet import Fleet, Outcome
from qhal.metric import Metric, format_value
from qhal.report.metrics import NOTHING, cell
from qhal.report.page import Page, Section, Table

_COLUMNS = ("target", "result", "top-1", "SQNR", "latency", "this host", "artifact")


def fleet_page(model: str, fleet: Fleet) -> Page:
    """One table over all targets, then why some failed.

    Args:
        model: file name of the model.
        fleet: the outcomes.
    """
    failed = [outcome for outcome in fleet.outcomes if outcome.error is not None]
    done = len(fleet.outcomes) - len(failed)
    rows = tuple(_row(outcome) for outcome in fleet.outcomes)
    folders = ", ".join(str(o.folder) for o in fleet.outcomes if o.folder is not None)
    written = (f"Written: {folders}.",) if folders else ()
    sections = (
        Section("Targets", written, Table(_COLUMNS, rows)),
        Section("Failed", items=tuple(_failure(outcome) for outcome in failed)),
    )
    verdict = f"{done} of {len(fleet.outcomes)} targets are done."
    return Page(f"{model} for {len(fleet.outcomes)} targets", verdict, sections)


def _row(outcome: Outcome) -> tuple[str, ...]:
    if outcome.record is None:
        return (outcome.target, "failed", *[""] * (len(_COLUMNS) - 2))
    metrics = outcome.record.metrics
    return (
        outcome.target,
        "done",
        cell(metrics, "top1"),
        cell(metrics, "sqnr"),
        cell(metrics, "latency"),  # of the target: modelled or estimated; never the host's
        _value(metrics, "latency_host_p50"),
        cell(metrics, "size_artifact"),
    )


def _failure(outcome: Outcome) -> str:
    """Why, and below it what to do."""
    error = outcome.error
    assert error is not None
    return f"{outcome.target}: error {error.code}: {error.message}\n{error.hint}".rstrip()


def _value(metrics: Mapping[str, Metric], name: str) -> str:
    """Without the band."""
    found = metrics.get(name)
    return NOTHING if found is None else format_value(found.value, found.unit)
