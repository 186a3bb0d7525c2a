"""Capabilities: what a target's hardware can execute, as data with sources.

A capability is a list of *rows*, not a cross product of types: real hardware couples the
types of activation, weight and output. Fail closed: what no row states is not supported.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import inf, prod

from qhal.errors import PluginError
from qhal.ir.dtypes import DType
from qhal.ir.graph import NodeView
from qhal.ir.ops import OPERATORS, Activation, Layout, kinds_of
from qhal.targets.limit import Limit, broken_by, refuse_others
from qhal.targets.spec import Derived, OutputSpec, QuantSpec, SameAsInput

HOST = "host"
"""The unit that every target with a unit of its own has beside it: the processor that drives it."""

_KINDS = frozenset(kind for operator in OPERATORS for kind in kinds_of(operator))


class Arithmetic(Enum):
    """How integer kernels rescale an accumulator; what the oracle computes."""

    FIXED_POINT = "fixed-point"
    """int32 multiplier and shift, double rounding (gemmlowp; LiteRT's reference kernels)."""
    FLOAT = "float"
    """float32 multiply, round half to even (ONNX Runtime)."""

    @property
    def is_fixed_point(self) -> bool:
        """True if accumulators are rescaled with an integer multiplier and a shift."""
        return self is not Arithmetic.FLOAT


@dataclass(frozen=True)
class ScaleLimit:
    """Scales that an integer kernel takes; they are known once calibration has measured ranges.

    Attributes:
        operand: an operand's scale is less than so many times the result's.
        product: the product of all operands' scales is less than so many times the result's.
    """

    operand: float = inf
    product: float = inf

    def broken_by(self, operands: Sequence[float], result: float) -> str | None:
        """Check scales; return None or a sentence with the offending value."""
        largest, product = max(operands, default=0.0) / result, prod(operands) / result
        if largest >= self.operand:
            return (
                f"an operand's scale is {largest:.3g} times the result's, "
                f"allowed is less than {self.operand:g}"
            )
        if product >= self.product:
            return (
                f"the product of the operands' scales is {product:.3g} times the result's, "
                f"allowed is less than {self.product:g}"
            )
        return None


@dataclass(frozen=True)
class KernelRow:
    """One combination of types that the hardware really has for an operator.

    Attributes:
        activation: of every non-constant operand with the role activation.
        output: of every result; a spec, fixed parameters or a relation.
        weight: of the operands with the role weight; None where the operator has none.
        bias: of the operand with the role bias.
        unit: where it runs; "" is the target's main unit, :data:`HOST` the processor beside it.
        limits: further rules for this row alone.
        scales: what it takes beyond the types; None for all scales.
        computes: the type in which the kernel computes with the weight, where a weight in fewer
            bits is widened once, at load time; None if it computes with the weight as it is
            stored.
        name: what reports call it, such as ``int8 per-axis``.
    """

    activation: QuantSpec
    output: OutputSpec
    weight: QuantSpec | None = None
    bias: Derived | QuantSpec | None = None
    unit: str = ""
    limits: tuple[Limit, ...] = ()
    name: str = ""
    scales: ScaleLimit | None = None
    computes: DType | None = None

    def __post_init__(self) -> None:
        """Refuse codebooks where a kernel computes with integers, and unused bits elsewhere.

        Raises:
            PluginError: a type with a codebook is not that of a weight beside a float activation,
                a part of a type's bits is not that of a symmetric weight, or a limit is none.
        """
        refuse_others(self.limits, f"kernel row {self}")
        numbers = [s for s in (self.activation, self.output, self.bias) if s is not None]
        if self.activation.quantized and self.weight is not None:
            numbers.append(self.weight)
        for spec in numbers:
            if not isinstance(spec, SameAsInput) and spec.dtype.codebook is not None:
                raise PluginError(
                    f"Kernel row {self} computes with {spec.dtype.value}, a type with a codebook.",
                    "Only weights may have a codebook, and only with float activations.",
                )
        for form in (self.activation, self.output, self.bias, self.weight):
            if isinstance(form, QuantSpec) and form.bits is not None:
                self._check_bits(form, form.bits)

    def _check_bits(self, spec: QuantSpec, bits: int) -> None:
        signed = spec.dtype.is_integer and spec.dtype.qmin < 0
        if spec is self.weight and spec.symmetric and signed and 2 <= bits < spec.dtype.bits:
            return
        raise PluginError(
            f"Kernel row {self} uses {bits} bits of {spec.dtype.value}.",
            "Only symmetric weights of a signed integer type may use fewer bits than the type has.",
        )

    @property
    def storage(self) -> str:
        """Such as "stored 4 bits, computes 8"; empty if it computes with weights as stored."""
        if self.computes is None or self.weight is None:
            return ""
        integer = self.computes.is_integer
        computes = self.computes.bits if integer else f"in {self.computes.value}"
        stored, used = self.weight.dtype.bits, self.weight.used_bits
        levels = "" if used == stored else f" with {1 << used} levels"
        return f"stored {stored} bits{levels}, computes {computes}"

    def __str__(self) -> str:
        weight = f" x {self.weight}" if self.weight else ""
        words = self.name or f"{self.activation}{weight} -> {self.output}"
        return f"{words} ({self.storage})" if self.storage else words


@dataclass(frozen=True)
class Capability:
    """What a target has for one operator.

    Attributes:
        op: the operator's ``kind`` (``Conv``, ``ReduceMean`` …).
        rows: in order of preference within a recipe.
        source: document, file or probe that says so, with the version it holds for.
        limits: rules for all rows.
    """

    op: str
    rows: tuple[KernelRow, ...]
    source: str
    limits: tuple[Limit, ...] = ()

    def __post_init__(self) -> None:
        """Refuse unknown operators and what is no limit.

        Raises:
            PluginError: the operator is unknown, or a limit is none.
        """
        _refuse_unknown((self.op,), "A capability")
        refuse_others(self.limits, f"the capability {self.op}")


@dataclass(frozen=True)
class Absence:
    """Kernels that a target lacks although others have them, and why.

    Attributes:
        recipes: names of the recipes that would take them.
        why: a clause that follows "because".
        ops: the operators' kinds; empty for all.
    """

    recipes: tuple[str, ...]
    why: str
    ops: tuple[str, ...] = ()


@dataclass(frozen=True)
class Capabilities:
    """All that a target can execute.

    Attributes:
        kernels: capabilities; several entries of one operator add up, earlier ones first.
        layout: order of dimensions that its spatial kernels want.
        arithmetic: how its integer kernels round.
        fused: operator kind -> activations that it can fuse.
        native: operator kind -> the rule for a node to be left as it is; one that breaks it is
            written in another form, if there is one. Rules read the canonical NCHW graph.
        integer_io: True if the artifact's inputs and outputs are integers, except outputs that a
            float kernel makes.
        indices: element type that indices have in an artifact: int64, as in models, or int32.
        opaque: the sentence why unknown operators are refused, the rule that one must meet to be
            taken in float, or None if the runtime takes any ONNX operator in float.
        absent: kernels that are missing for a reason, which refusals quote.
    """

    kernels: tuple[Capability, ...]
    layout: Layout = Layout.NCHW
    arithmetic: Arithmetic = Arithmetic.FIXED_POINT
    fused: Mapping[str, frozenset[Activation]] = field(default_factory=dict)
    native: Mapping[str, Limit] = field(default_factory=dict)
    integer_io: bool = False
    indices: DType = DType.INT64
    opaque: str | Limit | None = "the target runs canonical operators only"
    absent: tuple[Absence, ...] = ()

    def __post_init__(self) -> None:
        """Refuse unknown operators and what is no limit.

        Raises:
            PluginError: ``fused`` or ``native`` has an unknown operator, or a rule of ``native``,
                or that of ``opaque``, is no limit.
        """
        _refuse_unknown(self.fused, "Capabilities.fused")
        _refuse_unknown(self.native, "Capabilities.native")
        refuse_others(tuple(self.native.values()), "Capabilities.native")
        if not isinstance(self.opaque, str | None):
            refuse_others(self.opaque, "Capabilities.opaque")

    def of(self, kind: str) -> tuple[Capability, ...]:
        """Return the entries for an operator kind, in order."""
        return tuple(c for c in self.kernels if c.op == kind)

    def has(self, kind: str) -> bool:
        """Return True if there is any kernel for the operator kind."""
        return any(c.op == kind and c.rows for c in self.kernels)

    def why_absent(self, recipe: str, kind: str = "") -> str:
        """Say why there are no kernels of a recipe, or of an operator in it; empty if unknown."""
        found = (a.why for a in self.absent if recipe in a.recipes and (not a.ops or kind in a.ops))
        return next(found, "")

    def refusal_of_opaque(self, view: NodeView) -> str | None:
        """Say why an ONNX operator that is none of qhal is refused; None if it runs in float."""
        return broken_by(self.opaque, view) if isinstance(self.opaque, Limit) else self.opaque


def _refuse_unknown(kinds: Iterable[str], owner: str) -> None:
    """Refuse names that no operator has, such as mistyped ones: no node would ever match them."""
    for kind in kinds:
        if kind not in _KINDS:
            near = difflib.get_close_matches(str(kind), _KINDS, 1)
            raise PluginError(
                f"{owner} names the operator {kind!r}, which is no operator of qhal.",
                f"Did you mean {near[0]}?" if near else "qhal.ir.ops has the known operators.",
            )
