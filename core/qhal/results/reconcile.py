"""Declared, placed, executed: compare the plan with what the runtime or compiler really did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from qhal.decisions import Code, Decision, Severity
from qhal.metric import Metric
from qhal.plugin.backend import PlacedNode, Placement
from qhal.quant.choice import Verdict
from qhal.results.plan import NodePlan, Plan, Status
from qhal.targets.capability import HOST
from qhal.targets.where import Where, WhereBasis

Parts = tuple[PlacedNode, ...]
"""What the runtime runs for one node of the plan; nothing if the node is not shown."""


@dataclass(frozen=True)
class Reconciliation:
    """The plan with what really runs, and decisions about what differs."""

    plan: Plan
    decisions: tuple[Decision, ...]


def reconcile(plan: Plan, placement: Placement | None) -> Reconciliation:
    """Fill in ``cost``, ``status``, ``placed`` and ``executed`` of every node, as far as known.

    What was read from the runtime is executed; what a compiler reports, or a model of it predicts,
    is placed. Where a node is both, its status is that of what is executed.

    A node differs if it was declared as integer and runs in float, if it was declared in a float
    of 16 bits and runs in a wider one, or if only one of plan and placement has it on the host. A
    node that the runtime does not show became a part of another one. Each difference is a
    decision; all products that were declared as integer and whose type is unknown share one.

    Args:
        plan: from :func:`qhal.results.plan.plan_of`.
        placement: from the backend; None if unknown.
    """
    if placement is None:
        return Reconciliation(plan, ())
    pairs = list(zip(plan.nodes, _shown(plan, placement), strict=True))
    nodes = tuple(_filled(node, shown) for node, shown in pairs)
    differing = (_differs(node, shown.parts, placement.source) for node, shown in pairs)
    decisions = (*filter(None, differing), *_warn_of_unknown(nodes, placement.source))
    filled = replace(plan, nodes=nodes, placement_source=placement.source)
    return Reconciliation(filled, decisions)


# --- whose part is what -----------------------------------------------------------


@dataclass(frozen=True)
class _Shown:
    """What is known of one node.

    Attributes:
        placed: what the compiler, or a model of it, made of it.
        executed: what the runtime is seen to execute.
    """

    placed: Parts
    executed: Parts

    @property
    def parts(self) -> Parts:
        """The better answer."""
        return self.executed or self.placed


def _shown(plan: Plan, placement: Placement) -> Iterator[_Shown]:
    """Find what is known of every node, in the order of the plan."""
    match = _by_result if placement.by_result else _by_name
    read = [entry for entry in placement.nodes if entry.where.basis is WhereBasis.READ]
    others = [entry for entry in placement.nodes if entry.where.basis is not WhereBasis.READ]
    placed, executed = match(plan, others), match(plan, read)
    for node in plan.nodes:
        yield _Shown(placed.get(node.name, ()), executed.get(node.name, ()))


def _by_name(plan: Plan, entries: Sequence[PlacedNode]) -> Mapping[str, Parts]:
    """Match by the name of a node, else by that of a result, unless a node has that name."""
    placed = {entry.name: entry for entry in entries}
    own = {node.name for node in plan.nodes}
    found = {}
    for node in plan.nodes:
        names = (node.name, *(result for result in node.outputs if result not in own))
        found[node.name] = tuple(placed[name] for name in names if name in placed)[:1]
    return found


def _by_result(plan: Plan, entries: Sequence[PlacedNode]) -> Mapping[str, Parts]:
    """Match by results: an entry whose result the plan lacks is a part of the next one."""
    makers = {result: node.name for node in plan.nodes for result in node.outputs}
    found: dict[str, Parts] = {}
    waiting: Parts = ()
    for entry in entries:
        waiting = (*waiting, entry)
        maker = makers.get(entry.name)
        if maker is not None:
            found[maker] = (*found.get(maker, ()), *waiting)
            waiting = ()
    return found


# --- what is said of a node -------------------------------------------------------


def _filled(node: NodePlan, shown: _Shown) -> NodePlan:
    placed, executed = _where(shown.placed), _where(shown.executed)
    runs = executed or placed
    if runs is None:
        return replace(node, status=Status.ABSORBED)
    difference = _difference(node, shown.parts)
    return replace(
        node,
        placed=placed,
        executed=executed,
        cost=_cost(shown.executed) or _cost(shown.placed),
        status=_status(node, runs, difference),
        reason="; ".join(filter(None, (node.reason, difference))),
    )


def _where(parts: Parts) -> Where | None:
    """Put the answers for the parts of a node together; their weakest basis is that of all."""
    if not parts:
        return None
    answers = [part.where for part in parts]
    units = {where.unit for where in answers}
    kernels = [where.kernel if len(units) == 1 else _with_unit(where) for where in answers]
    return Where(
        unit=units.pop() if len(units) == 1 else None,
        kernel=_joined(kernels) or None,
        dtype=_joined(where.dtype for where in answers) or None,
        basis=min((where.basis for where in answers), key=list(WhereBasis).index),
    )


def _with_unit(where: Where) -> str:
    unit = "an unknown unit" if where.unit is None else _unit(where.unit)
    return f"{where.kernel or 'it'} on {unit}"


def _joined(words: Iterable[str | None]) -> str:
    return " + ".join(dict.fromkeys(filter(None, words)))


def _cost(parts: Parts) -> Metric | None:
    """Add up the costs of the parts of a node, which are all in one unit."""
    costs = [part.cost for part in parts if part.cost is not None]
    if not costs:
        return None
    low, high = _sum([cost.low for cost in costs]), _sum([cost.high for cost in costs])
    return replace(costs[0], value=sum(cost.value for cost in costs), low=low, high=high)


def _sum(ends: Sequence[float | None]) -> float | None:
    known = [end for end in ends if end is not None]
    return sum(known) if len(known) == len(ends) else None


def _status(node: NodePlan, where: Where, difference: str) -> Status:
    if difference:
        return Status.DIFFERS
    unknown = where.dtype is None and _is_integer_product(node)
    return Status.UNKNOWN if unknown else Status.AS_PLANNED


def _is_integer_product(node: NodePlan) -> bool:
    dtype = node.declared.dtype
    return node.macs > 0 and dtype is not None and "float" not in dtype


_WIDE = ("float32", "float64")


def _is_wider(executed: str | None, declared: str | None) -> bool:
    """Return True for float instead of integers, and for wide floats instead of 16-bit ones."""
    if executed is None or declared is None:
        return False
    if "float" not in declared:
        return "float" in executed
    return declared not in _WIDE and executed in _WIDE


def _difference(node: NodePlan, parts: Parts) -> str:
    """Say how a node runs differently than planned; empty if it does not."""
    declared = node.declared
    # A conversion reads one type and makes the other, so its one type says nothing.
    answers = [part.where for part in parts]
    for where in () if node.verdict is Verdict.CONVERSION else answers:
        if _is_wider(where.dtype, declared.dtype):
            return f"declared as {declared.dtype}, executed in {where.dtype} by {where.kernel}"
    units = [where.unit for where in answers if where.unit is not None]
    if units and (HOST in units) != (declared.unit == HOST):
        have = HOST if HOST in units else units[-1]
        kernel = next(where.kernel for where in reversed(answers) if where.unit == have)
        return f"planned for {_unit(declared.unit)}, but placed on {_unit(have)} as {kernel}"
    return ""


def _unit(name: str | None) -> str:
    return name or "the main unit"


# --- decisions --------------------------------------------------------------------


def _differs(node: NodePlan, parts: Parts, source: str) -> Decision | None:
    difference = _difference(node, parts)
    if not difference:
        return None
    sentence = f"{node.op} {node.name}: {difference} ({source})."
    return Decision(Code.PLACEMENT_DIFFERS, sentence, node.name, Severity.WARNING)


def _warn_of_unknown(nodes: Iterable[NodePlan], source: str) -> Iterable[Decision]:
    """Warn once about the integer products that are not shown, or shown without a type."""
    products = [node for node in nodes if _is_integer_product(node)]
    hidden = [n for n in products if n.status in (Status.ABSORBED, Status.UNKNOWN)]
    if hidden:
        yield Decision(
            Code.EXECUTION_UNKNOWN,
            f"The runtime does not report which type it used for {len(hidden)} of "
            f"{len(products)} products that were declared as integers ({source}): "
            f"{', '.join(node.name for node in hidden)}.",
            severity=Severity.WARNING,
        )
