"""Limits: what does not meet them stops the run before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from qhal.decisions import Code, Decision, Severity
from qhal.errors import AccuracyGateError, FallbackGateError
from qhal.metric import Metric, counted, format_value
from qhal.quant.choice import Choice, Verdict
from qhal.results.gate import Gate
from qhal.verify.accuracy import no_labels
from qhal.verify.chance import equally_good

DEFAULT_MAX_DROP_PP = 1.0
"""By how much top-1 may drop where the user sets no limit: see docs/adr/0019."""

_CHANCE = 0.05
_MOST_EXCUSED_PP = 5.0


def fallback_gate(choices: Mapping[str, Choice], allowed: int | None) -> tuple[Gate, ...]:
    """At most ``allowed`` nodes may run in float or on another unit; None allows any number.

    Raises:
        FallbackGateError: there are more; the message quotes reasons.
    """
    if allowed is None:
        return ()
    fallen = [c for c in choices.values() if c.verdict in (Verdict.FALLBACK, Verdict.HOST)]
    if len(fallen) <= allowed:
        return (
            Gate("max-fallback", f"{len(fallen)} nodes fall back, allowed are {allowed}", True),
        )
    quoted = "\n".join(f"  {c.node}: {c.reason}." for c in fallen[:5])
    more = f"\n  … and {len(fallen) - 5} more" if len(fallen) > 5 else ""
    raise FallbackGateError(
        f"{len(fallen)} nodes fall back, --max-fallback allows {allowed}:\n{quoted}{more}\n",
        "`qhal check` lists every node.",
    )


@dataclass(frozen=True)
class Gated:
    """Limits, met or not.

    Attributes:
        gates: for the record.
        decisions: what is doubtful about them.
    """

    gates: tuple[Gate, ...] = ()
    decisions: tuple[Decision, ...] = ()


def accuracy_gate(metrics: Mapping[str, Metric], allowed_pp: float | None) -> Gated:
    """Judge the drop of top-1 by so many percentage points.

    Args:
        metrics: of the accuracy.
        allowed_pp: what the user allows, to the letter. None allows
            :data:`DEFAULT_MAX_DROP_PP` where there are labels, and more where chance explains
            what was lost: see :func:`_may_be_chance`.

    Raises:
        LabelError: there are no labels to measure it with, and the user set a limit.
    """
    if "top1_drop" not in metrics:
        if allowed_pp is None:
            return Gated()
        raise no_labels()
    limit_pp = DEFAULT_MAX_DROP_PP if allowed_pp is None else allowed_pp
    sentence = _drop_words(metrics, limit_pp)
    met = metrics["top1_drop"].value <= limit_pp
    if not met and allowed_pp is None and _may_be_chance(metrics):
        return _doubted(f"{sentence}, but {_chance_words(metrics)}")
    return Gated((Gate("max-drop", sentence, met),))


def drop_refusal(
    failed: Gate, metrics: Mapping[str, Metric], decisions: Sequence[Decision], tried: str
) -> AccuracyGateError:
    """Make the error for a drop that is too large.

    Args:
        failed: the gate.
        metrics: of the accuracy.
        decisions: of the run; the error quotes the warnings, since one of them may be the reason.
        tried: what was measured to help, and what was not.
    """
    return AccuracyGateError(
        f"The accuracy gate is not met: {failed.sentence}.{_warnings(decisions)}",
        _what_to_do(metrics, tried),
    )


def _doubted(sentence: str) -> Gated:
    told = f"{sentence[0].upper()}{sentence[1:]}: evaluate on more labeled samples."
    doubt = Decision(Code.DROP_IN_DOUBT, told, severity=Severity.WARNING)
    return Gated((Gate("max-drop", sentence, True),), (doubt,))


def _what_to_do(metrics: Mapping[str, Metric], tried: str) -> str:
    """A float model that does badly itself is mostly one whose inputs are prepared wrongly."""
    before = format_value(metrics["top1_float"].value, "fraction")
    return (
        f"If the float model is known to be right more often than {before}, look at --preprocess "
        f"and --label-offset first.\n{tried}\n"
        f"`--max-drop {ceil(metrics['top1_drop'].value)}` accepts the drop."
    )


def _warnings(decisions: Sequence[Decision]) -> str:
    """The warnings of a run, one of each code."""
    by_code: dict[Code, list[Decision]] = {}
    for decision in decisions:
        if decision.severity is Severity.WARNING:
            by_code.setdefault(decision.code, []).append(decision)
    quoted = [
        f"\n  {code.id}: {first.sentence}" + (f" And {len(more)} more." if more else "")
        for code, (first, *more) in by_code.items()
    ]
    return f"\nWarnings of this run:{''.join(quoted)}\n" if quoted else ""


def _drop_words(metrics: Mapping[str, Metric], limit_pp: float) -> str:
    before, after = (format_value(metrics[n].value, "fraction") for n in ("top1_float", "top1"))
    lost, gained = _differing(metrics)
    return (
        f"top-1 went from {before} to {after}, a drop of {metrics['top1_drop'].value:.2f} points "
        f"({counted(lost, 'sample')} lost, {gained} gained); allowed are {limit_pp:g}"
    )


def _may_be_chance(metrics: Mapping[str, Metric]) -> bool:
    """Return True if chance explains the drop; the rule is one for all targets and counts.

    Two equally good models would have to differ as much in :data:`_CHANCE` of all evaluations.
    With few samples that alone would excuse any loss, so that it excuses a single sample, or
    :data:`_MOST_EXCUSED_PP`: see docs/adr/0019.
    """
    lost, gained = _differing(metrics)
    few = lost - gained <= 1 or metrics["top1_drop"].value <= _MOST_EXCUSED_PP
    return few and equally_good(lost, gained) >= _CHANCE


def _chance_words(metrics: Mapping[str, Metric]) -> str:
    often = 100 * equally_good(*_differing(metrics))
    return f"equally good models differ as much in {often:.0f} of 100 evaluations by chance"


def _differing(metrics: Mapping[str, Metric]) -> tuple[int, int]:
    return int(metrics["top1_lost"].value), int(metrics["top1_gained"].value)
