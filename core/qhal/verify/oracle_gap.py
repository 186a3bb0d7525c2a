"""Compare what a runtime computes with what the NumPy oracle computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from qhal.decisions import Code, Decision, Severity
from qhal.errors import VerificationError
from qhal.ir.dtypes import DType
from qhal.ir.graph import Arrays
from qhal.ir.ops import AveragePool, Dequantize, Op, Reduce, Reshape, Softmax, Transpose
from qhal.metric import Basis, Metric, counted
from qhal.quant.model import QuantModel
from qhal.verify.output_gap import OutputGap, Unit

_PROBABILITY_STEP = 1 / 256
"""Of a softmax of 8 bits, also where it is taken in float."""


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


@dataclass(frozen=True)
class Outputs:
    """The outputs of one run.

    Attributes:
        raw: in the artifact's own types.
        real: in the user's numbers.
    """

    raw: Arrays
    real: Arrays


class OracleGap:
    """The differences of one runtime, over some samples."""

    def __init__(self, model: QuantModel) -> None:
        self.samples = 0
        self.outputs = {name: _output_gap(model, name) for name in model.graph.outputs}

    def add(self, sample: int, oracle: Outputs, runtime: Outputs, float_model: Arrays) -> None:
        """Take in the outputs of one sample.

        Args:
            sample: its number.
            oracle: what the plan says.
            runtime: what the artifact gives.
            float_model: what the user's own model gives.
        """
        self.samples += 1
        for name, gap in self.outputs.items():
            real = oracle.real[name], runtime.real[name], float_model[name]
            gap.add(sample, (oracle.raw[name], runtime.raw[name]), real)

    def add_suspect(
        self, name: str, sample: int, oracle: Outputs, runtime: Outputs, float_model: Arrays
    ) -> str:
        """Take in one output of a sample that was chosen for its error.

        Returns:
            What is wrong with it alone, which others may hide; "" if nothing is.
        """
        real = oracle.real[name], runtime.real[name], float_model[name]
        self.outputs[name].add(sample, (oracle.raw[name], runtime.raw[name]), real)
        return self.outputs[name].stray(sample, real)

    @property
    def worst(self) -> OutputGap:
        """The output that differs most, beside what quantization does to it."""
        return max(self.outputs.values(), key=lambda gap: gap.against_quantization)

    def metrics(self, prefix: str) -> dict[str, Metric]:
        """Return the gap as metrics: of the worst output, and of each where there are several."""
        steps = self._of(Unit.STEPS)
        gaps = [gap for gap in self.outputs.values() if gap.unit is not Unit.ITEMS]
        found: dict[str, Metric] = {}
        if gaps:
            worst = min(gaps, key=lambda gap: gap.gap.sqnr_db)
            found[f"{prefix}_sqnr"] = self._metric(worst.gap.sqnr_db, "dB", worst)
        if steps:
            worst = max(steps, key=lambda gap: gap.steps.largest)
            found[f"{prefix}_max_steps"] = self._metric(worst.steps.largest, "steps", worst)
            worst = min(steps, key=lambda gap: gap.steps.share_within_one)
            share = worst.steps.share_within_one
            found[f"{prefix}_within_1_step"] = self._metric(share, "fraction", worst)
        for gap in self._of(Unit.ITEMS):
            found[f"{prefix}_equal[{gap.name}]"] = self._metric(1 - gap.differing, "fraction", gap)
        if len(gaps) > 1:
            each = {f"{prefix}_sqnr[{gap.name}]": gap for gap in gaps}
            found |= {key: self._metric(gap.gap.sqnr_db, "dB", gap) for key, gap in each.items()}
        return found

    def _metric(self, value: float, unit: str, gap: OutputGap) -> Metric:
        of = f", output {gap.name}" if len(self.outputs) > 1 else ""
        note = f"runtime against the oracle, {self.samples} samples{of}"
        return Metric(float(value), unit, Basis.MEASURED_HOST, note=note)

    def _of(self, unit: Unit) -> list[OutputGap]:
        return [gap for gap in self.outputs.values() if gap.unit is unit]

    def check(self, runtime: str, reference: OracleGap | None = None, stray: str = "") -> None:
        """Refuse what is no rounding; every output alone.

        Args:
            runtime: its name.
            reference: the gap of the same runtime's reference kernels, if it has any.
            stray: what is wrong with one sample alone.

        Raises:
            VerificationError: an output is something else than the plan says.
        """
        for name, gap in self.outputs.items():
            if why := stray or gap.refusal(_excused(name, reference)):
                raise VerificationError(
                    f"{runtime} does not compute what the plan says: {why}.",
                    "This is a bug of the backend, of its runtime or of the oracle; please report "
                    "it with the model.",
                )

    def decisions(
        self,
        runtime: str,
        reference: OracleGap | None = None,
        origin: Callable[[int], str] = lambda sample: "",
    ) -> tuple[Decision, ...]:
        """Return the decision about a gap that is more than rounding.

        Args:
            runtime: its name.
            reference: the gap of the same runtime's reference kernels, if it has any.
            origin: finds out where the gap begins for a sample, as a sentence; asked where the
                gap is as large as what quantization does.
        """
        excused = {name: _excused(name, reference) for name in self.outputs}
        shown = [g for g in self.outputs.values() if _worth_telling(g, excused[g.name])]
        if not shown:
            return ()
        matter = [gap for gap in shown if gap.matters]
        worst = max(matter or shown, key=lambda gap: gap.against_quantization)
        sentences = [self._sentence(runtime, worst, len(shown) - 1)]
        if excused[worst.name]:
            sentences.append("The runtime's reference kernels agree with the oracle.")
        if matter:
            sentences += filter(None, [origin(worst.worst_sample)])
        fine = all(excused[g.name] or (g.close and not g.shifted) for g in shown)
        severity = Severity.INFO if fine and not matter else Severity.WARNING
        return (Decision(Code.ORACLE_GAP, " ".join(sentences), worst.name, severity),)

    def _sentence(self, runtime: str, gap: OutputGap, others: int) -> str:
        more = f", and {counted(others, 'other output')} less" if others else ""
        as_much = ", as much as quantization itself changes" if gap.matters else ""
        return (
            f"{runtime} and the oracle differ {_how_far(gap)}{as_much}"
            f" ({self.samples} samples{more})."
        )


def _output_gap(model: QuantModel, name: str) -> OutputGap:
    steps = output_steps(model)
    if name not in steps:
        return OutputGap(name, Unit.REAL, plain=_is_plain(model, name))
    items = steps[name] is None and name not in model.params
    return OutputGap(name, Unit.ITEMS if items else Unit.STEPS, steps[name])


def _is_plain(model: QuantModel, name: str) -> bool:
    """Return True if nothing but float32 leads to a tensor."""
    graph, todo, seen = model.graph, [name], set[str]()
    while todo:
        tensor = todo.pop()
        if not tensor or tensor in seen:
            continue
        seen.add(tensor)
        if tensor in model.params or graph.tensors[tensor].dtype.is_float is False:
            return False
        node = graph.producers.get(tensor)
        if node is None:
            continue
        row = model.kernels.get(node.name)
        if row is not None and row.activation.dtype is not DType.FLOAT32:
            return False
        todo += node.inputs
    return True


def _excused(name: str, reference: OracleGap | None) -> bool:
    return reference is not None and reference.outputs[name].follows_the_plan


def _worth_telling(gap: OutputGap, excused: bool) -> bool:
    return (not gap.rounded and (gap.unit is not Unit.REAL or gap.matters)) or (
        gap.shifted and not excused
    )


def _how_far(gap: OutputGap) -> str:
    if gap.unit is Unit.ITEMS:
        return f"in {100 * gap.differing:.3g} % of the elements of output {gap.name}"
    if gap.unit is Unit.REAL:
        return f"at output {gap.name} (SQNR {gap.gap.sqnr_db:.1f} dB)"
    if gap.rounded:
        return f"by {gap.steps.bias:+.2g} quantization steps on average at output {gap.name}"
    share = 100 * (1 - gap.steps.share_within_one)
    return (
        f"by more than one quantization step in {share:.3g} % of the elements of output "
        f"{gap.name}, at most by {gap.steps.largest} quantization steps"
    )
