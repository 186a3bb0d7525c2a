"""Which metric stands where in a report, and what it is called there.

Metrics of backends state both themselves, and stand behind qhal's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qhal.metric import LABELS, Metric, Topic
from qhal.report.headline import PER_OUTPUT, output_figures
from qhal.report.page import Section, Table

_ONLY_IN_THE_RECORD = frozenset(
    {
        "top1_lost",
        "top1_gained",
        "top5_drop",
        "top5_lost",
        "top5_gained",
        "oracle_reference_sqnr",
        "latency_host_min",
        "latency_host_float_min",
    }
)
"""What would only make the page longer."""

_MOST_OUTPUTS = 6
_PER_OUTPUT = tuple(f"{kind}[" for kind in PER_OUTPUT)

NOTHING = "–"
"""What stands in a table in the place of a number that is not there."""


def cell(metrics: Mapping[str, Metric], name: str) -> str:
    """Write a metric for a table, with its band."""
    return str(metrics[name]) if name in metrics else NOTHING


def labeled(metrics: Mapping[str, Metric]) -> tuple[tuple[str, str], ...]:
    """List names and labels in the order of the report, then those without a place."""
    known = {name: text for labels in LABELS.values() for name, text in labels.items()}
    named = [(name, text) for name, text in known.items() if name in metrics]
    hidden = known.keys() | _ONLY_IN_THE_RECORD
    return (*named, *((n, m.label or n) for n, m in metrics.items() if n not in hidden))


def metric_sections(metrics: Mapping[str, Metric]) -> tuple[Section, ...]:
    """Lay out tables of all metrics; those without a place of their own come last."""
    named = {name for labels in LABELS.values() for name in labels} | _ONLY_IN_THE_RECORD
    rest = {n: m for n, m in metrics.items() if n not in named and not n.startswith(_PER_OUTPUT)}
    sections = []
    for topic in Topic:
        own = [(text, metrics[n]) for n, text in LABELS[topic].items() if n in metrics]
        sections.append(_section(topic.value, (*own, *_about(topic, rest))))
    return (*sections, _outputs(metrics), _section("Other figures", _about(None, rest)))


def _about(topic: Topic | None, found: Mapping[str, Metric]) -> list[tuple[str, Metric]]:
    return [(m.label or name, m) for name, m in found.items() if m.topic is topic]


def _section(title: str, rows: Iterable[tuple[str, Metric]]) -> Section:
    """Lay out a table of metrics; do not repeat the note of the row above."""
    cells = []
    above = ""
    for label, metric in rows:
        note = "" if metric.note == above else metric.note
        cells.append((label, str(metric), metric.basis.value, note))
        above = metric.note
    return Section(title, table=Table(("figure", "value", "basis", "note"), tuple(cells)))


def _outputs(metrics: Mapping[str, Metric]) -> Section:
    """Lay out how close single outputs are, where there are several; the worst first."""
    found = output_figures(metrics)
    rest = len(found) - _MOST_OUTPUTS
    sentences = (f"{_MOST_OUTPUTS} of {len(found)} outputs, the worst.",) if rest > 0 else ()
    names = {"sqnr": "SQNR", "equal": "equal elements"}
    rows = tuple((name, names[kind], str(m)) for name, kind, m in found[:_MOST_OUTPUTS])
    table = Table(("output", "figure", "value"), rows if len(found) > 1 else ())
    return Section("Each output", sentences if rest > 0 else (), table)
