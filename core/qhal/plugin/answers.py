"""What a backend answers with, checked value by value: a record is written from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qhal.codec import decode, encode
from qhal.decisions import Decision
from qhal.errors import PluginError
from qhal.metric import Basis, Metric, is_own, is_own_label, looks_own, topic_of
from qhal.plugin.backend import Artifact, Findings, Placement
from qhal.plugin.machine_setup import Setup


def check_answer(method: str, answer: object) -> None:
    """Check what is inside an answer.

    Args:
        method: of the class ``Backend``.
        answer: of the class that the method must answer with.

    Raises:
        PluginError: a value has another type than it must or is not finite, or a number has the
            name or label of one of qhal's own, or one that looks so.
    """
    if isinstance(answer, Placement):
        _check_value(answer, Placement, "the placement")
    elif isinstance(answer, Artifact):
        _check_decisions(answer.decisions)
    elif isinstance(answer, Findings):
        _check_metrics(answer.metrics)
        _check_decisions(answer.decisions)
    elif method == "foresee":
        _check_decisions(answer)
    elif method == "setups":
        _check_setups(answer)


def _check_decisions(decisions: object) -> None:
    if not isinstance(decisions, tuple):
        raise PluginError(f"its decisions are a {type(decisions).__name__}, not a tuple.")
    for index, decision in enumerate(decisions):
        _check_value(decision, Decision, f"decision {index}")


def _check_setups(setups: object) -> None:
    assert isinstance(setups, tuple)
    for index, setup in enumerate(setups):
        if not isinstance(setup, Setup):
            raise PluginError(f"setup {index} is {setup!r:.60}, not a Setup.")


def _check_metrics(metrics: object) -> None:
    if not isinstance(metrics, Mapping):
        raise PluginError(f"its metrics are a {type(metrics).__name__}, not a mapping.")
    for name, metric in metrics.items():
        if not isinstance(name, str) or not name:
            raise PluginError(f"a metric has the name {name!r:.60}, which is not a string.")
        if name != " ".join(name.split()):
            raise PluginError(f"a metric has the name {name!r:.60}, which has spaces too many.")
        if is_own(name) or looks_own(name):
            raise PluginError(
                f"it states {name!r}, which qhal finds out itself.",
                "Give the number a name of the backend's own.",
            )
        _check_value(metric, Metric, f"metric {name}")
        if is_own_label(metric.label) and topic_of(name, Metric(0, "", Basis.COUNTED)) is None:
            raise PluginError(
                f"metric {name} has the label {metric.label!r}, which is that of a number that "
                "qhal finds out itself.",
                "Give the number a label of the backend's own.",
            )


def _check_value(value: object, kind: type[Any], where: str) -> None:
    """Check that a value is of its class, and that all its fields have the types they state."""
    if not isinstance(value, kind):
        raise PluginError(f"{where} is {value!r:.60}, not a {kind.__name__}.")
    try:
        written = encode(value)
    except ValueError as error:
        raise PluginError(f"{where} cannot be written: {error}.") from error
    try:
        same = decode(kind, written, where) == value
    except ValueError as error:
        raise PluginError(f"{error}.") from error
    if not same:
        raise PluginError(f"{where} has a field of another type than {kind.__name__} states.")
