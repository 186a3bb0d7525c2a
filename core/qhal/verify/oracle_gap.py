"""Compare what a runtime computes with what the NumPy oracle computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from qhal.decisions import Code, Decision, Severity
from qhal.errors import VerificationError
from qhal.ir.graph import Array
from qhal.ir.ops import AveragePool, Dequantize, Op, Reduce, Reshape, Softmax, Transpose
from qhal.metric import Basis, Metric
from qhal.quant.model import QuantModel
from qhal.verify.compare import Difference, StepGap

_SMALLEST_SQNR_DB = 0.0
"""Below this the difference is larger than the signal: that is no rounding."""

_PROBABILITY_STEP = 1 / 256
"""Of a softmax of 8 bits, also where it is taken in float."""

_CLOSE = 0.999
"""Share of elements within one step from which on a gap is not worth a warning."""


def output_steps(model: QuantModel) -> dict[str, float | None]:
    """Find the outputs whose elements are steps of one scale.

    Returns:
        Output -> None where it is an integer tensor, or the scale of the integers that it was
        dequantized from. Outputs that are computed from several in float are left out.
    """
    steps: dict[str, float | None] = {}
    for name in model.graph.outputs:
        if name in model.params or not model.graph.tensors[name].dtype.is_float:
            steps[name] = None
        elif (step := _float_step(model, name)) is not None:
            steps[name] = step
    return steps


def _float_step(model: QuantModel, name: str) -> float | None:
    """Return the step of the integers behind a float output, if nothing enlarges a difference."""
    node = model.graph.producers.get(name)
    largest = inf
    while node is not None and _keeps_steps(node.op):
        if isinstance(node.op, Softmax):
            largest = _PROBABILITY_STEP
        node = model.graph.producers.get(node.inputs[0])
    if node is None or not isinstance(node.op, Dequantize):
        return None
    params = model.params[node.inputs[0]]
    return min(float(params.scale), largest) if params.axis is None else None


def _keeps_steps(op: Op) -> bool:
    """Return True for operators that never enlarge a difference between two operands."""
    mean = isinstance(op, Reduce) and op.function == "Mean"
    return mean or isinstance(op, Reshape | Transpose | AveragePool | Softmax)


@dataclass
class OracleGap:
    """The differences of one runtime, over some samples.

    Attributes:
        model: the model that both ran.
        samples: samples seen.
        steps: in steps of the outputs' scales, over the outputs that have one.
        difference: in real numbers, over all outputs.
    """

    model: QuantModel
    samples: int = 0
    steps: StepGap = field(default_factory=StepGap)
    difference: Difference = field(default_factory=Difference)

    def add(self, oracle: Mapping[str, Array], runtime: Mapping[str, Array]) -> None:
        """Take in the outputs of one sample, in the artifact's own types."""
        self.samples += 1
        for name, step in output_steps(self.model).items():
            self.steps.add(oracle[name], runtime[name], step)
        for name in self.model.graph.outputs:
            self.difference.add(oracle[name], runtime[name])

    def metrics(self, prefix: str) -> dict[str, Metric]:
        """Return the gap as metrics: ``<prefix>_max_steps``, ``_within_1_step`` and ``_sqnr``."""
        note = f"runtime against the oracle, {self.samples} samples"
        sqnr = Metric(self.difference.sqnr_db, "dB", Basis.MEASURED_HOST, note=note)
        found = {f"{prefix}_sqnr": sqnr}
        if self.steps.elements:
            largest, share = float(self.steps.largest), self.steps.share_within_one
            found[f"{prefix}_max_steps"] = Metric(largest, "steps", Basis.MEASURED_HOST, note=note)
            within = Metric(share, "fraction", Basis.MEASURED_HOST, note=note)
            found[f"{prefix}_within_1_step"] = within
        return found

    @property
    def close(self) -> bool:
        """True if (almost) all elements are within one step."""
        return self.steps.share_within_one >= _CLOSE

    def decisions(self, runtime: str, excused: bool = False) -> tuple[Decision, ...]:
        """Return the decisions about a gap of more than one step.

        Args:
            runtime: its name.
            excused: the runtime's own reference kernels agree with the oracle, so the gap is
                the rounding of its faster kernels.
        """
        if self.steps.largest <= 1:
            return ()
        share = 100 * (1 - self.steps.share_within_one)
        sentence = (
            f"{runtime} and the oracle differ by more than one step in {share:.3g} % of the "
            f"output elements, at most by {self.steps.largest} steps ({self.samples} samples)."
        )
        if excused:
            sentence += " The runtime's reference kernels agree with the oracle."
        severity = Severity.INFO if excused or self.close else Severity.WARNING
        return (Decision(Code.ORACLE_GAP, sentence, severity=severity),)

    def check(self, runtime: str) -> None:
        """Raise VerificationError if the runtime computes something else altogether."""
        if self.steps.elements and self.steps.share_within_one >= 0.5:
            return
        if self.difference.sqnr_db >= _SMALLEST_SQNR_DB:
            return
        raise VerificationError(
            f"{runtime} does not compute what the plan says: its outputs differ from the "
            f"oracle's by more than the signal (SQNR {self.difference.sqnr_db:.1f} dB, largest "
            f"difference {self.difference.max_abs:g}).",
            "This is a bug of the backend or of the oracle; please report it with the model.",
        )
