"""Gates: a run that does not meet its limits stops before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from qhal.decisions import Code, Decision, Severity
from qhal.errors import AccuracyGateError, FallbackGateError, LoopGateError
from qhal.metric import Metric, counted, format_value
from qhal.quant.choice import Choice, Verdict
from qhal.results.gate import Gate
from qhal.verify.accuracy import no_labels
from qhal.verify.chance import lost_by_chance
from qhal.verify.loop import LoopAccuracy

DEFAULT_MAX_DROP_PP = 1.0
"""By how much top-1 may drop where the user sets no limit: see docs/adr/0019."""

_CHANCE = 0.05
_MOST_EXCUSED_PP = 5.0


def fallback_gate(choices: Mapping[str, Choice], allowed: int | None) -> tuple[Gate, ...]:
    """Check that at most ``allowed`` nodes run in float or on another unit; None allows any number.

    Raises:
        FallbackGateError: there are more; the message quotes reasons.
    """
    if allowed is None:
        return ()
    fallen = [c for c in choices.values() if c.verdict in (Verdict.FALLBACK, Verdict.HOST)]
    if len(fallen) <= allowed:
        return (Gate("max-fallback", f"{_fallen_words(fallen)}; the limit is {allowed}", True),)
    quoted = "\n".join(f"  {c.node}: {c.reason}." for c in fallen[:5])
    more = f"\n  … and {len(fallen) - 5} more" if len(fallen) > 5 else ""
    raise FallbackGateError(
        f"The fallback gate is not met: {_fallen_words(fallen)}; --max-fallback allows {allowed}:\n"
        f"{quoted}{more}\n",
        "`qhal check` lists every node.",
    )


def _fallen_words(fallen: Sequence[Choice]) -> str:
    return f"{counted(len(fallen), 'node')} in float or on another unit"


@dataclass(frozen=True)
class Gated:
    """Limits, met or not.

    Attributes:
        gates: for the record.
        decisions: what is doubtful about them.
    """

    gates: tuple[Gate, ...] = ()
    decisions: tuple[Decision, ...] = ()


def loop_gate(loop: LoopAccuracy | None, allowed_pp: float | None) -> tuple[Gate, ...]:
    """Judge what a model with states does in a closed loop; there is no gate without states."""
    return () if loop is None else (loop.gate(allowed_pp),)


def loop_refusal(
    failed: Gate, loop: LoopAccuracy, decisions: Sequence[Decision], tried: str
) -> LoopGateError:
    """Make the error for an artifact that leaves the float model in a closed loop.

    Args:
        failed: the gate.
        loop: what was measured.
        decisions: of the run; the error quotes the warnings.
        tried: what was measured to help, and what was not.
    """
    sentence = failed.sentence[:1].upper() + failed.sentence[1:]
    told = " ".join(filter(None, (f"{sentence}.", loop.drift_words())))
    return LoopGateError(
        f"The closed-loop gate is not met. {told}{_warnings(decisions)}",
        f"If the samples are no frames in order, or nothing feeds back, say --state none.\n"
        f"{tried}\n`--max-drop 100` accepts any drift.",
    )


def accuracy_gate(metrics: Mapping[str, Metric], allowed_pp: float | None) -> Gated:
    """Judge the drop of top-1 by so many percentage points.

    Args:
        metrics: of the accuracy.
        allowed_pp: what the user allows, taken literally. None allows
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
    advised = f"{sentence[0].upper()}{sentence[1:]}: evaluate on more labeled samples."
    doubt = Decision(Code.DROP_IN_DOUBT, advised, severity=Severity.WARNING)
    return Gated((Gate("max-drop", sentence, True),), (doubt,))


def _what_to_do(metrics: Mapping[str, Metric], tried: str) -> str:
    """Name the options to change; a float model with a low score mostly gets wrong inputs."""
    before = format_value(metrics["top1_float"].value, "fraction")
    return (
        f"If the float model should score more than {before}, check --preprocess and "
        f"--label-offset first.\n{tried}\n"
        f"`--max-drop {ceil(metrics['top1_drop'].value)}` accepts the drop."
    )


def _warnings(decisions: Sequence[Decision]) -> str:
    """Quote the warnings of a run, one of each code."""
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
    drop = metrics["top1_drop"].value
    change = f"a gain of {-drop:.2f}" if drop < 0 else f"a drop of {drop:.2f}"
    return (
        f"top-1 went from {before} to {after}, {change} points "
        f"({counted(lost, 'sample')} lost, {gained} gained); the limit is {limit_pp:g}"
    )


def _may_be_chance(metrics: Mapping[str, Metric]) -> bool:
    """Return True if chance explains the drop; the rule is one for all targets and counts.

    One of two equally good models would lose as much in :data:`_CHANCE` of all evaluations.
    With few samples that alone would excuse any loss, so that it excuses a single sample, or
    :data:`_MOST_EXCUSED_PP`: see docs/adr/0019.
    """
    lost, gained = _differing(metrics)
    few = lost - gained <= 1 or metrics["top1_drop"].value <= _MOST_EXCUSED_PP
    return few and lost_by_chance(lost, gained) >= _CHANCE


def _chance_words(metrics: Mapping[str, Metric]) -> str:
    often = 100 * lost_by_chance(*_differing(metrics))
    return f"one of two equally good models loses as much in {often:.0f} of 100 evaluations"


def _differing(metrics: Mapping[str, Metric]) -> tuple[int, int]:
    return int(metrics["top1_lost"].value), int(metrics["top1_gained"].value)
