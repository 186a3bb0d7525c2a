"""How far one output of a runtime is from the oracle's, and what that may be.

The limits and why they are what they are: docs/adr/0027.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import inf

import numpy as np

from qhal.ir.graph import Array
from qhal.verify.compare import Difference, Extent, Spread, StepGap, decibels, difference

CLOSE = 0.999
"""Share of elements within one step from which on a gap is not worth a warning."""

AS_QUANTIZATION = 1.0
"""Of the noise of quantization itself: a gap of that much is as important as what was planned."""

FOLLOWED = 0.1
"""Of the noise of quantization itself: reference kernels that are this close follow the plan."""

_BEYOND_QUANTIZATION = 4.0
"""Of the noise of quantization itself: more than twice its amplitude is another model."""

_ROUNDED_TWICE = 2
"""Steps that may come from rounding in two places instead of one."""

_ANOTHER_SAMPLE_DB = 3.0
"""Variation of an output over noise: a constant has 0 dB, outputs of another sample -3 dB."""

_NEAR_EXACT_DB = 60.0
"""Float arithmetic in another order stays above this."""

_FLOAT_DB = 40.0
"""What a float output must have, whatever its quantization noise is."""

_ROUNDING = 64 * float(np.finfo(np.float32).eps)


class Unit(Enum):
    """What the elements of an output are."""

    STEPS = "steps"
    """Integers of one scale, or real numbers that were dequantized from them."""
    REAL = "real"
    """Results of float arithmetic."""
    ITEMS = "items"
    """Indices, classes and truth values: numbers that are equal or not."""


@dataclass
class OutputGap:
    """The differences of one output of a runtime, over some samples.

    Attributes:
        name: of the output.
        unit: what its elements are.
        step: of its scale; None where the elements are integers.
        plain: True if it is computed in float32 all the way.
        steps: runtime against oracle, in steps; in differing numbers where they are items.
        gap: runtime against oracle, in the user's numbers.
        planned: oracle against the float model, in the user's numbers: what quantization does.
        spread: how the oracle's output varies from sample to sample.
        ours: the smallest and largest element of the oracle's.
        theirs: the same of the runtime's.
        worst_sample: the sample with the most noise.
    """

    name: str
    unit: Unit
    step: float | None = None
    plain: bool = False
    steps: StepGap = field(default_factory=StepGap)
    gap: Difference = field(default_factory=Difference)
    planned: Difference = field(default_factory=Difference)
    spread: Spread = field(default_factory=Spread)
    ours: Extent = field(default_factory=Extent)
    theirs: Extent = field(default_factory=Extent)
    worst_sample: int = 0
    _worst_noise: float = 0.0

    def add(self, sample: int, raw: tuple[Array, Array], real: tuple[Array, Array, Array]) -> None:
        """Take in one sample.

        Args:
            sample: its number.
            raw: the oracle's and the runtime's, in the artifact's type.
            real: the oracle's, the runtime's and the float model's, in the user's numbers.
        """
        oracle, runtime, float_model = map(self._numbers, real)
        if self.unit is Unit.ITEMS:
            oracle, runtime, float_model = (
                np.zeros(oracle.shape),
                np.not_equal(runtime, oracle).astype(np.float64),
                np.not_equal(float_model, oracle).astype(np.float64),
            )
        before = self.gap.noise
        self.gap.add(oracle, runtime)
        if self.unit is Unit.STEPS:
            self.steps.add(*raw, self.step)
        self.planned.add(float_model, oracle)
        self.spread.add(oracle)
        self.ours.add(raw[0])
        self.theirs.add(raw[1])
        if self.gap.noise - before > self._worst_noise:
            self._worst_noise, self.worst_sample = self.gap.noise - before, sample

    @staticmethod
    def _numbers(array: Array) -> Array:
        return np.asarray(array, np.float64)

    # --- figures ----------------------------------------------------------------------

    @property
    def against_quantization(self) -> float:
        """Noise of the runtime over the noise of quantization itself."""
        if not self.gap.noise:
            return 0.0
        return self.gap.noise / self.planned.noise if self.planned.noise else inf

    @property
    def variation_db(self) -> float:
        """How the output varies over what the runtime adds to it.

        From sample to sample, or inside the tensor where samples are as good as equal.
        """
        return decibels(self._variation, self.gap.noise)

    @property
    def _variation(self) -> float:
        varies = self.spread.over_samples
        return max(varies, self.spread.inside) if varies <= self.planned.noise else varies

    @property
    def differing(self) -> float:
        """Share of the elements that are not equal; of items."""
        return self.gap.noise / self.gap.elements if self.gap.elements else 0.0

    @property
    def rounded(self) -> bool:
        """True if nothing but rounding differs."""
        if not self.gap.noise:
            return True
        if self.unit is Unit.STEPS:
            return self.steps.largest <= 1
        if self.unit is Unit.ITEMS:
            return False
        tiny = self.gap.max_abs <= _ROUNDING * self.gap.peak
        return tiny or self.variation_db >= _NEAR_EXACT_DB

    @property
    def close(self) -> bool:
        """True if (almost) all elements are within one step, or rounded."""
        if self.rounded:
            return True
        if self.unit is Unit.STEPS:
            return self.steps.share_within_one >= CLOSE
        return self.unit is Unit.ITEMS and 1 - self.differing >= CLOSE

    @property
    def follows_the_plan(self) -> bool:
        """True if the gap is nothing beside what quantization itself does."""
        return self.close or self.against_quantization <= FOLLOWED

    @property
    def matters(self) -> bool:
        """True if the runtime changes as much as quantization itself does."""
        return not self.rounded and self.against_quantization >= AS_QUANTIZATION

    @property
    def shifted(self) -> bool:
        """True if (almost) everything is off by a step in the same direction."""
        return self.unit is Unit.STEPS and abs(self.steps.bias) >= 0.5

    # --- what may not be ----------------------------------------------------------------

    def refusal(self, excused: bool) -> str:
        """Say why this is not what the plan says, without a full stop; "" if it may be.

        Args:
            excused: the runtime's reference kernels follow the plan, so that only its faster
                kernels differ.
        """
        constant = self.theirs.constant and not self.ours.constant
        if constant and not self.rounded and (self.matters or not excused):
            return f"output {self.name} is constant, the oracle's is not"
        if self.rounded:
            return ""
        if self.unit is Unit.ITEMS:
            return self._wrong_items(excused)
        if self.matters and self.variation_db < _ANOTHER_SAMPLE_DB:
            return (
                f"output {self.name} differs from the oracle's as if it belonged to another "
                f"sample (SQNR {self.gap.sqnr_db:.1f} dB, largest difference {self.gap.max_abs:g})"
            )
        return "" if excused else self._too_far()

    def stray(self, sample: int, real: tuple[Array, Array, Array]) -> str:
        """Say that one sample, which was taken in, has the output of another one; "" if not.

        Args:
            sample: its number.
            real: the oracle's, the runtime's and the float model's, in the user's numbers.
        """
        if self.unit is Unit.ITEMS or self.rounded or self.steps.largest in (1, _ROUNDED_TWICE):
            return ""
        oracle, runtime, float_model = map(self._numbers, real)
        gap, planned = difference(oracle, runtime), difference(float_model, oracle)
        varies = max(self._variation / self.spread.samples, self.spread.distance(oracle))
        near = decibels(varies, gap.noise) >= _ANOTHER_SAMPLE_DB
        if near or gap.noise <= _BEYOND_QUANTIZATION * planned.noise:
            return ""
        return (
            f"output {self.name} of evaluation sample {sample} differs from the oracle's as if it "
            f"belonged to another sample (SQNR {gap.sqnr_db:.1f} dB)"
        )

    def _wrong_items(self, excused: bool) -> str:
        wrong = self.differing > 0.5 and self.matters and not excused
        share = f"{100 * self.differing:.3g} %"
        return f"{share} of the elements of output {self.name} are not equal" if wrong else ""

    def _too_far(self) -> str:
        """Judge a runtime that has nothing to excuse it."""
        if self.unit is Unit.STEPS and abs(self.steps.bias) >= 1:
            return (
                f"output {self.name} is off by {self.steps.bias:+.2g} quantization steps on average"
            )
        if self.plain and self.variation_db < _NEAR_EXACT_DB:
            return (
                f"output {self.name} is computed in float32, but its SQNR to the oracle's is "
                f"{self.gap.sqnr_db:.1f} dB"
            )
        few = self.unit is Unit.STEPS and self.steps.largest <= _ROUNDED_TWICE
        if few or self.variation_db >= _FLOAT_DB:
            return ""
        if self.against_quantization > _BEYOND_QUANTIZATION:
            return (
                f"output {self.name} differs more from the oracle's (SQNR {self.gap.sqnr_db:.1f} "
                f"dB) than that from the float model's ({self.planned.sqnr_db:.1f} dB)"
            )
        if self.unit is Unit.STEPS and self.matters and self.steps.share_within_one < 0.5:
            share = 100 * (1 - self.steps.share_within_one)
            return f"{share:.3g} % of output {self.name} are off by more than one quantization step"
        return ""
