"""How fast a run is, in a few words for a headline or a table of several targets."""

from __future__ import annotations

from collections.abc import Mapping

from qhal.metric import Metric, format_band, format_value, remarks

Metrics = Mapping[str, Metric]


PER_OUTPUT = ("sqnr", "equal")
"""What is measured of single outputs: ``sqnr[NAME]`` of real numbers, ``equal[NAME]`` of others."""

LOOP = "loop_frames"
"""There for models with states, whose figures are those of the closed loop."""
_DECIDED = "loop_decisions_changed["

_LONGEST_NAME = 40


def output_figures(metrics: Metrics) -> tuple[tuple[str, str, Metric], ...]:
    """Per output: its name, what was measured, and the figure; the worst of a kind first."""
    found = [
        (name[len(kind) + 1 : -1], kind, metric)
        for kind in PER_OUTPUT
        for name, metric in metrics.items()
        if name.startswith(f"{kind}[")
    ]
    return tuple(sorted(found, key=lambda item: (PER_OUTPUT.index(item[1]), item[2].value)))


def output_words(metrics: Metrics) -> str:
    """How close the outputs are to the float model's: the worst one of a kind, by name."""
    words = ", ".join(filter(None, (_worst_words(metrics), _decided_words(metrics))))
    return f"in the closed loop {words}" if LOOP in metrics and words else words


def _decided_words(metrics: Metrics) -> str:
    """How many of the decisions in the closed loop are others: of the worst output."""
    changed = [metric.value for name, metric in metrics.items() if name.startswith(_DECIDED)]
    return f"{max(changed):.2f} % of decisions differ" if changed else ""


def _worst_words(metrics: Metrics) -> str:
    figures = output_figures(metrics)
    if len(figures) < 2:
        return f"output {_figure(*figures[0][1:])}" if figures else ""
    worst = [next((f for f in figures if f[1] == kind), None) for kind in PER_OUTPUT]
    named = [f"{_short(f[0])} {_figure(*f[1:])}" for f in worst if f is not None]
    return f"worst of {len(figures)} outputs: {', '.join(named)}"


def worst_cell(metrics: Metrics) -> str:
    """Write the worst output for a cell of a table, with its name where there are several."""
    figures = output_figures(metrics)
    if not figures:
        return ""
    name, kind, metric = figures[0]
    shown = str(metric) if kind == "sqnr" else _figure(kind, metric)
    return f"{shown} ({_short(name)})" if len(figures) > 1 else shown


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"


def _figure(kind: str, metric: Metric) -> str:
    return f"SQNR {metric}" if kind == "sqnr" else f"{metric} equal"


def target_words(metrics: Metrics) -> str:
    """Write the target's own figure: latency, else instructions; "" if there is neither."""
    if "latency" in metrics:
        return _latency(metrics["latency"])
    return _instructions(metrics) if "instructions" in metrics else ""


def timed_words(metrics: Metrics) -> str:
    """Write the time on the machine that runs qhal; "" if nothing was run there."""
    if "latency_host_p50" not in metrics:
        return ""
    p50 = metrics["latency_host_p50"]
    words = f"{format_value(p50.value, p50.unit)} on this host"
    if "speedup_host" in metrics:
        words += f", {metrics['speedup_host']} the speed of the float model"
    return words


def _latency(latency: Metric) -> str:
    band = format_band(latency.low, latency.high, latency.unit)
    shown = band or format_value(latency.value, latency.unit)
    return f"{shown} ({remarks(latency)})" if remarks(latency) else shown


def _instructions(metrics: Metrics) -> str:
    """Write the count, and its ratio to that of the float model."""
    count = metrics["instructions"]
    words = f"{format_value(count.value, count.unit)} instructions"
    if "instructions_ratio" in metrics:
        times = 1 / metrics["instructions_ratio"].value
        words += f", {format_value(times, 'ratio')} the float model's"
    return f"{words} ({remarks(count)})" if remarks(count) else words
