"""Which samples calibrate and which evaluate."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from qhal.data.dataset import Dataset
from qhal.data.rollout import Rollout, begin_at, rolled_out
from qhal.decisions import Code, Decision, Severity
from qhal.errors import OptionError

DEFAULT_CALIB_SAMPLES = 128


@dataclass(frozen=True, eq=False)
class DataSplit:
    """Calibration and evaluation data, with how they came about."""

    calibration: Dataset
    evaluation: Dataset
    decisions: tuple[Decision, ...]

    def describe(self) -> dict[str, object]:
        """Describe both data sets for the record."""
        return {
            "calibration": self.calibration.describe(),
            "evaluation": self.evaluation.describe(),
        }


def split(
    dataset: Dataset,
    calib_samples: int = DEFAULT_CALIB_SAMPLES,
    evaluation: Dataset | None = None,
) -> DataSplit:
    """Take calibration samples, spread evenly, and evaluate on the others.

    Args:
        dataset: what calibration may take from.
        calib_samples: how many samples it takes; all if there are fewer.
        evaluation: other data to evaluate on; without it, what calibration leaves.

    Raises:
        OptionError: ``calib_samples`` is less than 1.
    """
    if calib_samples < 1:
        raise OptionError(f"--calib-samples is {calib_samples}.", "At least 1 sample is needed.")
    chosen = spread(len(dataset), min(calib_samples, len(dataset)))
    calibration = dataset.select(chosen)
    decisions = _fewer(len(dataset), calib_samples)
    if evaluation is not None:
        return DataSplit(calibration, evaluation, (*decisions, *_same_source(dataset, evaluation)))
    rest = np.setdiff1d(np.arange(len(dataset)), chosen)
    if not rest.size:
        return DataSplit(calibration, calibration, (*decisions, _all_used(len(dataset))))
    return DataSplit(
        calibration, dataset.select(rest), (*decisions, _divided(len(chosen), len(rest)))
    )


def split_sequences(
    rollout: Rollout,
    calib_samples: int = DEFAULT_CALIB_SAMPLES,
    evaluation: Rollout | None = None,
) -> DataSplit:
    """Divide frames so that sequences stay whole: their order is what states depend on.

    Of several sequences every other one calibrates; of one, the first half does. Statistics are
    of calibration frames, spread evenly; the model runs over those between them as well.

    Args:
        rollout: what calibration may take from.
        calib_samples: how many frames are observed; all if there are fewer.
        evaluation: other data to evaluate on; without it, what calibration leaves.
    """
    if evaluation is not None:
        chosen, rest = rollout, evaluation
        how = _same_source(rollout, evaluation)
    elif len(rollout.starts) > 1:
        chosen, rest = (_sequences(rollout, odd) for odd in (0, 1))
        how = (_divided_in_order(rollout, rest, "every other sequence"),)
    elif len(rollout) < 2 * _FEWEST_FRAMES:
        chosen = rest = rollout
        how = (_all_used(len(rollout)),)
    else:
        half = len(rollout) // 2
        parts = begin_at(rollout, half)
        chosen, rest = parts.select(range(half)), parts.select(range(half, len(rollout)))
        how = (_divided_in_order(rollout, rest, "the first half of the sequence"),)
    fewer = _fewer(len(chosen), calib_samples)
    calibration = chosen.select(spread(len(chosen), min(calib_samples, len(chosen))))
    return DataSplit(calibration, rest, (*fewer, *how, rolled_out(calibration)))


def further_sequences(divided: DataSplit) -> Rollout | None:
    """Return the sequences of calibration, whole, if they are of the data that were divided.

    None where there are no sequences, where other data evaluate, or where the same frames do.
    """
    chosen, rest = divided.calibration, divided.evaluation
    if not isinstance(chosen, Rollout) or chosen.source is not rest.source:
        return None
    frames = chosen.frames
    shared = np.intersect1d(frames, rest.indices).size
    return None if shared else replace(chosen, indices=frames)


_FEWEST_FRAMES = 64
"""Frames below which half of a sequence is too short for either use."""


def _sequences(rollout: Rollout, odd: int) -> Rollout:
    """Take every other sequence."""
    ends = (*rollout.starts[1:], len(rollout))
    spans = list(zip(rollout.starts, ends, strict=True))[odd::2]
    return rollout.select(np.concatenate([np.arange(start, end) for start, end in spans]))


def _divided_in_order(rollout: Rollout, evaluation: Rollout, what: str) -> Decision:
    return Decision(
        Code.CALIBRATION_SPLIT,
        f"Calibration uses {what}; evaluation uses the other {len(evaluation)} of "
        f"{len(rollout)} frames, in their order.",
    )


def spread(length: int, count: int) -> npt.NDArray[np.intp]:
    """Choose ``count`` of the numbers below ``length``, ascending, at equal distances."""
    return np.asarray((2 * np.arange(count) + 1) * length // (2 * count), np.intp)


def _fewer(have: int, asked: int) -> tuple[Decision, ...]:
    if have >= asked:
        return ()
    sentence = f"Calibration uses all {have} samples; {asked} were requested."
    return (Decision(Code.SAMPLES_SKIPPED, sentence),)


def _divided(calibration: int, evaluation: int) -> Decision:
    total = calibration + evaluation
    return Decision(
        Code.CALIBRATION_SPLIT,
        f"Calibration uses {calibration} of {total} samples, spread evenly; evaluation uses the "
        f"other {evaluation}.",
    )


def _all_used(samples: int) -> Decision:
    return Decision(
        Code.EVALUATION_OVERLAP,
        f"Calibration and evaluation both use all {samples} samples, so the accuracy is too "
        "optimistic. Give separate evaluation data, or fewer calibration samples.",
        severity=Severity.WARNING,
    )


def _same_source(dataset: Dataset, evaluation: Dataset) -> tuple[Decision, ...]:
    if dataset.source.name != evaluation.source.name:
        return ()
    return (
        Decision(
            Code.EVALUATION_OVERLAP,
            f"Calibration and evaluation both use {evaluation.source.name}, so the accuracy is too "
            "optimistic.",
            severity=Severity.WARNING,
        ),
    )
