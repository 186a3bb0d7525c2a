"""Limits that the user sets: what is not met stops the run before anything is written."""

from __future__ import annotations

from collections.abc import Mapping

from qhal.errors import AccuracyGateError, FallbackGateError, LabelError
from qhal.metric import Metric
from qhal.quant.choice import Choice, Verdict
from qhal.record import Gate


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


def accuracy_gate(metrics: Mapping[str, Metric], allowed_pp: float | None) -> tuple[Gate, ...]:
    """Top-1 may drop by at most ``allowed_pp`` percentage points; None allows any drop.

    Raises:
        AccuracyGateError: it dropped by more.
        LabelError: there are no labels to measure it with.
    """
    if allowed_pp is None:
        return ()
    if "top1" not in metrics or "top1_float" not in metrics:
        raise LabelError(
            "--max-drop needs labels, and the evaluation data have none.",
            "Add a labels.csv (file,class_index), or an array `labels` to the .npz.",
        )
    before, after = metrics["top1_float"].value, metrics["top1"].value
    drop_pp = 100.0 * (before - after)
    sentence = (
        f"top-1 went from {100 * before:.2f} % to {100 * after:.2f} %, a drop of "
        f"{drop_pp:.2f} points; allowed are {allowed_pp:g}"
    )
    if drop_pp <= allowed_pp:
        return (Gate("max-drop", sentence, True),)
    raise AccuracyGateError(
        f"The accuracy gate is not met: {sentence}.",
        "Try `--recipe w8a16`, more --calib-samples or another --observer; run without "
        "--max-drop to keep the artifact and its record.",
    )
