"""Declared, placed, executed: compare the plan with what the runtime or compiler really did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    """Fill in ``cost``, ``status``, and ``placed`` or ``executed`` of every node.

    What was read from the runtime is executed; what a compiler reports, or a model of it predicts,
    is placed.

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
    parts = _by_result(plan, placement) if placement.by_result else _by_name(plan, placement)
    pairs = [(node, parts.get(node.name, ())) for node in plan.nodes]
    nodes = tuple(_filled(node, shown, placement.basis) for node, shown in pairs)
    differing = (_differs(node, shown, placement.source) for node, shown in pairs)
    decisions = (*filter(None, differing), *_warn_of_unknown(nodes, placement.source))
    filled = replace(plan, nodes=nodes, placement_source=placement.source)
    return Reconciliation(filled, decisions)


# --- whose part is what -----------------------------------------------------------


def _by_name(plan: Plan, placement: Placement) -> Mapping[str, Parts]:
    """Match by the name of a node, else by that of a result, unless a node has that name."""
    placed = {entry.name: entry for entry in placement.nodes}
    own = {node.name for node in plan.nodes}
    found = {}
    for node in plan.nodes:
        names = (node.name, *(result for result in node.outputs if result not in own))
        found[node.name] = tuple(placed[name] for name in names if name in placed)[:1]
    return found


def _by_result(plan: Plan, placement: Placement) -> Mapping[str, Parts]:
    """Match by results: an entry whose result the plan lacks is a part of the next one."""
    makers = {result: node.name for node in plan.nodes for result in node.outputs}
    found: dict[str, Parts] = {}
    waiting: Parts = ()
    for entry in placement.nodes:
        waiting = (*waiting, entry)
        maker = makers.get(entry.name)
        if maker is not None:
            found[maker] = (*found.get(maker, ()), *waiting)
            waiting = ()
    return found


# --- what is said of a node -------------------------------------------------------


def _filled(node: NodePlan, parts: Parts, basis: WhereBasis) -> NodePlan:
    if not parts:
        return replace(node, status=Status.ABSORBED)
    difference = _difference(node, parts)
    where, read = _where(parts, basis), basis is WhereBasis.READ
    return replace(
        node,
        placed=None if read else where,
        executed=where if read else None,
        cost=_total([part.cost for part in parts if part.cost is not None]),
        status=_status(node, where, difference),
        reason="; ".join(filter(None, (node.reason, difference))),
    )


def _where(parts: Parts, basis: WhereBasis) -> Where:
    return Where(
        unit=_joined(part.unit for part in parts),
        kernel=_joined(part.kernel for part in parts) or None,
        dtype=_joined(part.executed_dtype for part in parts) or None,
        basis=basis,
    )


def _joined(words: Iterable[str | None]) -> str:
    return " + ".join(dict.fromkeys(filter(None, words)))


def _total(costs: Sequence[Metric]) -> Metric | None:
    """Add up the costs of the parts of a node, which are all in one unit."""
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
    for part in () if node.verdict is Verdict.CONVERSION else parts:
        if _is_wider(part.executed_dtype, declared.dtype):
            return (
                f"declared as {declared.dtype}, executed in {part.executed_dtype} by {part.kernel}"
            )
    units = [part.unit for part in parts]
    if parts and (HOST in units) != (declared.unit == HOST):
        have = next((part for part in parts if part.unit == HOST), parts[-1])
        return (
            f"planned for {_unit(declared.unit)}, but placed on {_unit(have.unit)} as {have.kernel}"
        )
    return ""


def _unit(name: str) -> str:
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
