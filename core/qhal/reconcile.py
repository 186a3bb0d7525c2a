"""Declared, placed, executed: compare the plan with what the runtime or compiler really did."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qhal.decisions import Code, Decision, Severity
from qhal.plan import STEP, NodePlan, Plan, Status
from qhal.plugin.backend import PlacedNode, Placement
from qhal.target.capability import HOST


@dataclass(frozen=True)
class Reconciliation:
    """The plan with what really runs, and a decision for every node that runs otherwise."""

    plan: Plan
    decisions: tuple[Decision, ...]


def reconcile(plan: Plan, placement: Placement | None) -> Reconciliation:
    """Fill in ``placed``, ``executed`` and ``status`` of every node.

    A node differs if it was declared as integer and runs in float, if it was declared in a float
    of 16 bits and runs in a wider one, or if only one of plan and placement has it on the host. A
    node that the runtime does not show became a part of another one. Runtimes know nodes by their
    own name or by the name of what they make.

    Args:
        plan: from :func:`qhal.plan.plan_of`.
        placement: from the backend; None if nobody can tell.
    """
    if placement is None:
        return Reconciliation(plan, ())
    placed = {node.name: node for node in placement.nodes}
    nodes = []
    decisions = []
    for node in plan.nodes:
        found = next((placed[name] for name in (node.name, *node.outputs) if name in placed), None)
        difference = "" if found is None else _difference(node, found)
        nodes.append(_filled(node, found, difference))
        if difference:
            sentence = f"{node.op} {node.name}: {difference} ({placement.source})."
            decision = Decision(Code.PLACEMENT_DIFFERS, sentence, node.name, Severity.WARNING)
            decisions.append(decision)
    filled = replace(plan, nodes=tuple(nodes), placement_source=placement.source)
    return Reconciliation(filled, tuple(decisions))


def _filled(node: NodePlan, found: PlacedNode | None, difference: str) -> NodePlan:
    if found is None:
        return replace(node, status=Status.ABSORBED)
    return replace(
        node,
        placed=found.unit,
        executed=" ".join(filter(None, (found.kernel, found.executed_dtype))),
        status=Status.DIFFERS if difference else Status.AS_PLANNED,
        reason="; ".join(filter(None, (node.reason, difference))),
    )


_WIDE = ("float32", "float64")


def _is_wider(executed: str, declared: str) -> bool:
    """True for float instead of integers, and for wide floats instead of those of 16 bits."""
    if "float" not in declared:
        return bool(declared) and "float" in executed
    return declared not in _WIDE and executed in _WIDE


def _difference(node: NodePlan, found: PlacedNode) -> str:
    """How a node runs otherwise than planned; empty if it does not."""
    # A conversion reads one type and makes the other, so its one type says nothing.
    if node.verdict != STEP and _is_wider(found.executed_dtype, node.declared):
        return f"declared {node.declared}, executed {found.executed_dtype} by {found.kernel}"
    if (found.unit == HOST) != (node.unit == HOST):
        want, have = (unit or "the main unit" for unit in (node.unit, found.unit))
        return f"planned for {want}, placed on {have}"
    return ""
