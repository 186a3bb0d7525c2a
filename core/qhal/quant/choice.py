"""One kernel row for a node by itself, or why there is none.

Fail closed: a node takes a row only if a row exists for its operator and every limit of the
capability and of the row is met. Rows of the recipe come first; a float row is a recorded
fallback; without either the node is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from weakref import ref

import numpy as np

from qhal.decisions import Code, Decision, Severity
from qhal.ir.graph import Array, Graph, Node, NodeView
from qhal.ir.ops import Opaque, Role
from qhal.quant.scores import AttentionScores
from qhal.targets.capability import Capabilities, KernelRow
from qhal.targets.limit import Limit, broken_by
from qhal.targets.policy import Policy
from qhal.targets.recipe import Recipe
from qhal.targets.spec import FLOAT, SameAsInput

_REMEMBERED = 8
"""Graphs that are asked about in turn: a target has one, and each pass may make another."""


class Verdict(Enum):
    """What became of a node."""

    NATIVE = "native"
    FALLBACK = "fallback"
    HOST = "host"
    REFUSED = "refused"
    CONVERSION = "conversion"
    """qhal inserted the node to convert between types; no kernel was chosen for it."""


@dataclass(frozen=True)
class Choice:
    """The kernel row of one node.

    Attributes:
        node: the node's name.
        verdict: native, fallback (float), host (another unit) or refused.
        row: the row, None if refused.
        source: where the fact about the row comes from.
        reason: why it is not native; empty if it is.
        follows: True for data movement that stays in float only because its input is float.
        promoted: the code of the reason why it runs in float although the recipe has a kernel:
            8 bits would be too coarse. None if it does not.
        widened: True if its weight keeps more bits than its recipe asks for.
    """

    node: str
    verdict: Verdict
    row: KernelRow | None
    source: str = ""
    reason: str = ""
    follows: bool = False
    promoted: Code | None = None
    widened: bool = False

    @property
    def quantized(self) -> bool:
        """True if the node's activations are integers."""
        return self.row is not None and self.row.activation.quantized

    @property
    def runs_in_float(self) -> bool:
        """True if there is a row and its activations are not integers."""
        return self.row is not None and not self.row.activation.quantized

    @property
    def moves(self) -> bool:
        """True if the node only moves integers, whose parameters its result keeps."""
        return self.quantized and self.row is not None and isinstance(self.row.output, SameAsInput)

    def decision(self, node: Node) -> Decision | None:
        """Return the record's decision about the choice; None for a native one."""
        code, severity = {
            Verdict.NATIVE: (None, Severity.INFO),
            Verdict.FALLBACK: (Code.FLOAT_FALLBACK, Severity.WARNING),
            Verdict.HOST: (Code.UNIT_FALLBACK, Severity.WARNING),
            Verdict.REFUSED: (Code.REFUSED, Severity.REFUSAL),
        }[self.verdict]
        if self.widened and code is None:
            code = Code.WIDER_WEIGHT
        if self.follows:
            code, severity = Code.FOLLOWED_FLOAT, Severity.INFO
        if self.promoted is not None:
            code = self.promoted
            severity = severity if self.verdict is Verdict.HOST else Severity.INFO
        if code is None:
            return None
        return Decision(code, f"{node.op.kind} {node.name}: {self.reason}.", node.name, severity)


Choices = Mapping[str, Choice]
"""Node -> its choice, in the graph's order."""


@dataclass(frozen=True, eq=False)
class SelectionTask:
    """What kernel rows are selected for.

    Attributes:
        graph: legal for the target and in its layout.
        caps: what the target has.
        policy: gives each node the recipe whose rows it may take.
    """

    graph: Graph
    caps: Capabilities
    policy: Policy


SelectionPass = Callable[[SelectionTask, Choices], Choices]
"""Makes new choices from old ones, which it leaves as they are."""


def choose(view: NodeView, caps: Capabilities, policy: Policy) -> Choice:
    """Take the first row of the node's recipe that takes it, else one in float, else refuse it."""
    recipe = policy.recipe_for(view)
    if isinstance(view.op, Opaque):
        return _choose_opaque(view, view.op, caps, recipe)
    if not _touches_float(view):
        return _without_floats(view, caps)
    reasons: list[str] = []
    for asked in recipe.in_order:
        chosen = _choose_of(view, caps, asked, reasons)
        if chosen is not None:
            return chosen if asked is recipe else _widened(chosen, reasons)
        reasons = reasons or [_no_row(view, caps, recipe)]
    return fall_back(view, caps, _join(reasons))


def _choose_of(
    view: NodeView, caps: Capabilities, recipe: Recipe, reasons: list[str]
) -> Choice | None:
    """Take the first row of one recipe that takes the node; add why others do not."""
    weighted = Role.WEIGHT in view.op.roles
    for row, source, limits in _rows(view.op.kind, caps):
        if not recipe.accepts(row, weighted):
            continue
        broken = _first_broken(view, row, limits)
        if broken is None:
            return _accept(view.node.name, row, source, reasons)
        reasons.append(broken)
    return None


def _widened(chosen: Choice, reasons: list[str]) -> Choice:
    """Say of a choice that its weight keeps more bits than were asked for."""
    assert chosen.row is not None and chosen.row.weight is not None
    why = f"its weight keeps {chosen.row.weight.used_bits} bits, because {_join(reasons)}"
    return replace(chosen, widened=True, reason=chosen.reason or why)


def _rows(kind: str, caps: Capabilities) -> Iterator[tuple[KernelRow, str, tuple[Limit, ...]]]:
    for capability in caps.of(kind):
        for row in capability.rows:
            yield row, capability.source, (*capability.limits, *row.limits)


def _accept(name: str, row: KernelRow, source: str, reasons: list[str]) -> Choice:
    if not row.unit:
        return Choice(name, Verdict.NATIVE, row, source)
    why = _join(reasons) or "the main unit has no kernel for it"
    return Choice(name, Verdict.HOST, row, source, f"runs on the {row.unit}, because {why}")


def _join(reasons: list[str]) -> str:
    return "; ".join(dict.fromkeys(reasons))


def _no_row(view: NodeView, caps: Capabilities, recipe: Recipe) -> str:
    if not caps.has(view.op.kind):
        return f"qhal knows no kernel for {view.op.kind} on this target"
    lack = f"qhal knows no {recipe.name} kernel for {view.op.kind} on this target"
    why = caps.why_absent(recipe.name, view.op.kind)
    return f"{lack}: {why}" if why else lack


def _first_broken(view: NodeView, row: KernelRow, limits: tuple[Limit, ...]) -> str | None:
    infinite = _infinite(ref(view.graph)) if row.activation.quantized else ()
    for index, name in enumerate(view.node.inputs):
        role = view.op.role(index)
        if name and role in (Role.WEIGHT, Role.BIAS) and not view.is_constant(index):
            return f"operand {name}, the {role.value}, is not a constant"
        if role is Role.ACTIVATION and name in infinite:
            return f"operand {name} holds Inf or NaN, which integers cannot represent"
    return next((text for limit in limits if (text := broken_by(limit, view)) is not None), None)


@lru_cache(_REMEMBERED)
def _infinite(graph: ref[Graph]) -> frozenset[str]:
    """Find the constants of a graph that hold Inf or NaN.

    Masks of attention scores do not count: their infinities are cut to finite values.

    Every row of every node asks for them; a graph is remembered no longer than it lives.
    """
    found = graph()
    assert found is not None
    read = dict.fromkeys(name for node in found.nodes for name in node.activations)
    values = {name: found.constants[name] for name in read if name in found.constants}
    held = [name for name, value in values.items() if not _is_finite(value)]
    if not held:
        return frozenset()
    scores = AttentionScores.of(found)
    return frozenset(name for name in held if not _is_finite(scores.constant(name)))


def _is_finite(value: Array) -> bool:
    return value.dtype.kind != "f" or bool(np.isfinite(value).all())


def fall_back(view: NodeView, caps: Capabilities, reason: str) -> Choice:
    """Choose the first row in float that takes the node, for the given reason; else refuse."""
    name, reasons = view.node.name, [reason]
    for row, source, limits in _rows(view.op.kind, caps):
        if not _is_float_row(row):
            continue
        broken = _first_broken(view, row, limits)
        if broken is None:
            return Choice(name, Verdict.FALLBACK, row, source, f"runs in float, because {reason}")
        reasons.append(f"in float, {broken}")
    return Choice(name, Verdict.REFUSED, None, "", _join(reasons))


def keep_weight(view: NodeView, caps: Capabilities, choice: Choice) -> KernelRow | None:
    """Find the row in float that stores the same weight as a chosen one; None if there is none."""
    taken = choice.row
    for row, _, limits in _rows(view.op.kind, caps):
        if taken is None or row.activation != FLOAT or row.output != FLOAT or row.weight is None:
            continue
        stored = taken.weight is not None and row.weight.dtype is taken.weight.dtype
        if stored and row.unit == taken.unit and _first_broken(view, row, limits) is None:
            return row
    return None


def _is_float_row(row: KernelRow) -> bool:
    weight_is_float = row.weight is None or row.weight == FLOAT
    return row.activation == FLOAT and weight_is_float


def _choose_opaque(view: NodeView, op: Opaque, caps: Capabilities, recipe: Recipe) -> Choice:
    name = view.node.name
    refusal = caps.refusal_of_opaque(view)
    if refusal is not None:
        return Choice(name, Verdict.REFUSED, None, "", f"{refusal}: {op.reason}")
    row = KernelRow(FLOAT, FLOAT, name="float")
    verdict = Verdict.NATIVE if recipe.is_float else Verdict.FALLBACK
    return Choice(name, verdict, row, "", f"runs in float as it is, because {op.reason}")


def _touches_float(view: NodeView) -> bool:
    names = (*filter(None, view.node.inputs), *view.node.outputs)
    return any(view.graph.tensors[name].dtype.is_float for name in names)


def _without_floats(view: NodeView, caps: Capabilities) -> Choice:
    """Choose for a node on indices or booleans: nothing to quantize, but it needs a kernel."""
    choice = fall_back(view, caps, f"it works on {view.input().dtype.value}")
    if choice.row is None:
        return choice
    return replace(choice, verdict=Verdict.NATIVE, reason="")
