"""What a runtime's outputs may differ from the oracle's by; every output alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from qhal.decisions import Severity
from qhal.errors import VerificationError
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import TensorType
from qhal.quant.model import QuantModel, QuantParams
from qhal.targets.capability import KernelRow
from qhal.targets.spec import FLOAT
from qhal.verify.compare import Extent, Spread, StepGap
from qhal.verify.oracle_gap import OracleGap, Outputs
from qhal.verify.output_gap import OutputGap, Unit

SCALE, SAMPLES, WIDTH = 0.5, 8, 200
Values = npt.NDArray[np.float64]
Runtime = Callable[[Values, int], Values]
"""Makes the runtime's integers of a sample: of all that the oracle made, and the number."""

RNG = np.random.default_rng(0)
ORACLE = np.rint(RNG.normal(0, 40, (SAMPLES, WIDTH))).clip(-128, 127)
FLOAT_MODEL = (ORACLE + RNG.normal(0, 1.2, ORACLE.shape)) * SCALE
FLIPS = np.rint(RNG.normal(0, 1, ORACLE.shape))


def gap_of(runtime: Runtime, unit: Unit = Unit.STEPS, plain: bool = False) -> OutputGap:
    """The gap of a runtime to an oracle whose noise is 1.2 steps."""
    gap = OutputGap("y", unit, plain=plain)
    for index, planned in enumerate(ORACLE):
        found = runtime(ORACLE, index)
        if unit is Unit.STEPS:
            raw = planned.astype(np.int8), found.astype(np.int8)
            real = planned * SCALE, found * SCALE, FLOAT_MODEL[index]
        else:
            raw = planned, found  # type: ignore[assignment]
            real = planned, found, FLOAT_MODEL[index] / SCALE
        gap.add(index, raw, real)
    return gap


WRONG: dict[str, Runtime] = {
    "zeros": lambda all_, i: np.zeros(WIDTH),
    "a constant": lambda all_, i: np.full(WIDTH, 7.0),
    "another sample": lambda all_, i: all_[i - 1],
    "the mean of all samples": lambda all_, i: np.rint(all_.mean(0)),
    "reversed": lambda all_, i: all_[i][::-1],
    "negated": lambda all_, i: (-all_[i]).clip(-128, 127),
}
SUBTLY_WRONG: dict[str, Runtime] = {
    "off by two steps": lambda all_, i: (all_[i] - 2).clip(-128, 127),
    "saturated": lambda all_, i: np.minimum(all_[i], 40),
    "halved where positive": lambda all_, i: np.where(all_[i] > 0, all_[i] // 2, all_[i]),
    "one channel of ten is missing": lambda all_, i: np.where(np.arange(WIDTH) % 10, all_[i], 0),
    "noise of five steps": lambda all_, i: (all_[i] + 5 * FLIPS[i]).clip(-128, 127),
}
FINE: dict[str, Runtime] = {
    "the same": lambda all_, i: all_[i],
    "rounded otherwise": lambda all_, i: (all_[i] + FLIPS[i].clip(-1, 1)).clip(-128, 127),
    "rounded twice": lambda all_, i: (all_[i] + FLIPS[i].clip(-2, 2)).clip(-128, 127),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("excused", [False, True])
@pytest.mark.parametrize("unit", [Unit.STEPS, Unit.REAL])
def test_another_result_is_refused_whatever_the_reference_kernels_say(
    what: str, excused: bool, unit: Unit
) -> None:
    assert gap_of(WRONG[what], unit).refusal(excused)


@pytest.mark.parametrize("what", SUBTLY_WRONG)
def test_a_near_result_is_refused_unless_reference_kernels_have_the_right_one(what: str) -> None:
    gap = gap_of(SUBTLY_WRONG[what])
    assert gap.refusal(excused=False)
    assert not gap.refusal(excused=True)
    assert gap.matters


@pytest.mark.parametrize("what", FINE)
def test_rounding_is_not_refused(what: str) -> None:
    assert not gap_of(FINE[what]).refusal(excused=False)


def test_a_constant_output_of_both_is_none_of_the_runtimes_faults() -> None:
    gap = OutputGap("y", Unit.STEPS)
    for index in range(SAMPLES):
        same = np.full(4, 3, np.int8)
        gap.add(index, (same, same), (same * SCALE, same * SCALE, same * SCALE + 0.1))
    assert (gap.refusal(excused=False), gap.close) == ("", True)


def test_a_constant_that_is_one_step_from_the_oracle_is_rounding() -> None:
    gap = OutputGap("y", Unit.STEPS)
    for index, value in enumerate((3, 3, 3, 4)):
        raw = np.array([value], np.int8), np.array([3], np.int8)
        gap.add(index, raw, (raw[0] * SCALE, raw[1] * SCALE, raw[0] * SCALE))
    assert gap.refusal(excused=False) == ""


def test_float_arithmetic_is_near_exact() -> None:
    exact = gap_of(lambda all_, i: all_[i] * (1 + 1e-6), Unit.REAL, plain=True)
    assert (exact.refusal(excused=False), exact.rounded) == ("", True)
    off = gap_of(lambda all_, i: all_[i] * 1.01, Unit.REAL, plain=True)
    assert "is computed in float32, but its SQNR to the oracle's is 40.0 dB" in off.refusal(False)


def test_classes_are_equal_or_not() -> None:
    classes = np.arange(SAMPLES) * 100

    def gap(found: npt.NDArray[np.int64]) -> OutputGap:
        made = OutputGap("class", Unit.ITEMS)
        for index, (planned, one) in enumerate(zip(classes, found, strict=True)):
            raw = np.array([planned]), np.array([one])
            made.add(index, raw, (raw[0], raw[1], raw[0]))
        return made

    assert gap(classes).close
    next_door, one_off = gap(classes + 1), classes.copy()
    assert "100 % of the elements of output class are not equal" in next_door.refusal(False)
    one_off[3] = 7
    assert gap(one_off).refusal(excused=False) == ""
    assert gap(one_off).differing == 1 / 8
    assert "is constant" in gap(np.zeros_like(classes)).refusal(False)


def test_what_varies_less_than_quantization_is_judged_inside_the_tensor() -> None:
    gap, still = OutputGap("y", Unit.REAL), np.linspace(-1, 1, WIDTH)
    for index in range(4):
        planned = still + 1e-3 * FLIPS[index]
        found = planned + 0.02 * FLIPS[index + 1]
        gap.add(index, (planned, found), (planned, found, planned + 0.015 * FLIPS[index + 2]))
    assert gap.matters
    assert 25 < gap.variation_db < 35
    assert not gap.refusal(excused=False)


# --- a runtime with several outputs ---------------------------------------------------


def two_outputs() -> QuantModel:
    """A loud output in float and a faint one in int8."""
    b = GraphBuilder("g")
    x = b.input("x", TensorType((1, WIDTH)))
    b.one(ops.Relu(), (x,), output="loud", name="relu")
    b.declare("faint", TensorType((1, WIDTH), DType.INT8))
    b.add(ops.Quantize(), (x,), name="q", outputs=("faint",))
    params = {"faint": QuantParams.per_tensor(DType.INT8, SCALE, 0)}
    kernels = {"relu": KernelRow(FLOAT, FLOAT, None, None, name="float")}
    return QuantModel(b.build(outputs=("loud", "faint")), params, kernels)


def gap_with(faint: Runtime, more: Runtime = lambda all_, i: all_[i]) -> OracleGap:
    gap = OracleGap(two_outputs())
    for index, planned in enumerate(ORACLE):
        raw, found = planned.astype(np.int8), faint(ORACLE, index).astype(np.int8)
        loud, louder = 1e4 * planned, 1e4 * more(ORACLE, index)
        oracle = Outputs({"loud": loud, "faint": raw}, {"loud": loud, "faint": raw * SCALE})
        runtime = Outputs(
            {"loud": louder, "faint": found}, {"loud": louder, "faint": found * SCALE}
        )
        gap.add(index, oracle, runtime, {"loud": loud, "faint": FLOAT_MODEL[index]})
    return gap


@pytest.mark.parametrize("what", [*WRONG, *SUBTLY_WRONG])
def test_a_loud_output_does_not_hide_a_wrong_one(what: str) -> None:
    gap = gap_with({**WRONG, **SUBTLY_WRONG}[what])
    with pytest.raises(VerificationError, match=r"toy 1 does not .* output faint") as caught:
        gap.check("toy 1")
    assert "loud" not in caught.value.message
    assert gap.metrics("oracle")["oracle_sqnr[loud]"].value == 200
    assert gap.metrics("oracle")["oracle_sqnr"].note.endswith("8 samples, output faint")


def test_a_float_output_beside_integers_is_near_exact() -> None:
    gap = gap_with(lambda all_, i: all_[i], more=lambda all_, i: all_[i] * 1.01)
    with pytest.raises(VerificationError, match="output loud is computed in float32"):
        gap.check("toy 1")


def test_reference_kernels_excuse_each_output_alone() -> None:
    fast = gap_with(SUBTLY_WRONG["noise of five steps"])
    right, wrong = gap_with(FINE["the same"]), gap_with(SUBTLY_WRONG["noise of five steps"])
    fast.check("toy 1", right)
    with pytest.raises(VerificationError):
        fast.check("toy 1", wrong)
    (reported,) = fast.decisions("toy 1", right, lambda sample: f"It begins at sample {sample}.")
    assert reported.severity is Severity.WARNING
    assert "as much as quantization itself changes (8 samples)" in reported.sentence
    assert (
        "The runtime's reference kernels agree with the oracle. It begins at" in reported.sentence
    )


def test_what_is_small_beside_quantization_is_told_and_no_warning_with_an_excuse() -> None:
    exact = gap_with(FINE["the same"])
    rare = gap_with(lambda all_, i: all_[i] + np.where(np.arange(WIDTH) == 3, 2, 0))
    (reported,) = rare.decisions("toy 1", exact, lambda sample: "It begins somewhere.")
    assert reported.severity is Severity.INFO
    assert "begins" not in reported.sentence
    assert rare.decisions("toy 1")[0].severity is Severity.WARNING
    assert exact.decisions("toy 1") == ()


def test_a_shift_by_one_step_is_a_warning() -> None:
    gap = gap_with(lambda all_, i: (all_[i] - 1).clip(-128, 127))
    (reported,) = gap.decisions("toy 1")
    assert reported.severity is Severity.WARNING
    assert "by -1 quantization steps on average at output faint" in reported.sentence


# --- sums -------------------------------------------------------------------------------


def test_the_spread_over_samples() -> None:
    found, values = Spread(), RNG.normal(3, 2, (5, 7))
    for one in values:
        found.add(one)
    assert found.over_samples == pytest.approx(np.sum((values - values.mean(0)) ** 2))
    inside = np.sum((values - values.mean(1, keepdims=True)) ** 2)
    assert found.inside == pytest.approx(inside)


def test_the_bias_of_steps_has_a_sign() -> None:
    gap = StepGap()
    gap.add(np.array([0, 0], np.int8), np.array([-3, 1], np.int8))
    assert gap.bias == -1


def test_the_extent() -> None:
    found = Extent()
    for values in ((1, 1), (1,)):
        found.add(np.array(values))
    assert found.constant
    found.add(np.array([2]))
    assert (found.constant, found.low, found.high) == (False, 1, 2)
