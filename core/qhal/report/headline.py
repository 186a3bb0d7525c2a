"""How fast a run is, in a few words for a verdict or a table of several targets."""

from __future__ import annotations

from collections.abc import Mapping

from qhal.metric import Metric, format_band, format_value, remarks

Metrics = Mapping[str, Metric]


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
