"""Declared, placed, executed."""

from __future__ import annotations

import pytest

from qhal.decisions import Code
from qhal.plan import NodePlan, Plan, Status, plan_of
from qhal.plugin.backend import PlacedNode, Placement
from qhal.reconcile import reconcile


def _reconcile(toys, *placed: PlacedNode):
    found = reconcile(plan_of(toys.model), Placement(placed, "the profiler"))
    return found, next(node for node in found.plan.nodes if node.name == "fc")


def test_nobody_can_tell(toys) -> None:
    found = reconcile(plan_of(toys.model), None)
    assert {node.status for node in found.plan.nodes} == {Status.UNKNOWN}
    assert found.plan.placement_source == ""


def test_as_planned(toys) -> None:
    found, fc = _reconcile(toys, PlacedNode("fc", "QLinearGemm", "", "int8"))
    assert (fc.status, fc.executed) == (Status.AS_PLANNED, "QLinearGemm int8")
    assert found.decisions == ()
    assert found.plan.placement_source == "the profiler"


def test_planned_integer_executed_float(toys) -> None:
    found, fc = _reconcile(toys, PlacedNode("fc", "Gemm", "", "float32"))
    assert fc.status is Status.DIFFERS
    decision = found.decisions[0]
    assert (decision.code, decision.subject) == (Code.PLACEMENT_DIFFERS, "fc")
    assert "declared int8, executed float32 by Gemm (the profiler)" in decision.sentence


@pytest.mark.parametrize(
    ("declared", "executed", "status"),
    [
        ("bfloat16", "bfloat16", Status.AS_PLANNED),
        ("bfloat16", "float32", Status.DIFFERS),
        ("bfloat16", "", Status.AS_PLANNED),
        ("float32", "bfloat16", Status.AS_PLANNED),
        ("float32", "int8", Status.AS_PLANNED),
        ("int8", "bfloat16", Status.DIFFERS),
    ],
)
def test_what_runs_in_wider_numbers_than_declared_differs(declared, executed, status) -> None:
    plan = Plan((), (NodePlan("fc", "FullyConnected", (), (), declared=declared),))
    found = reconcile(plan, Placement((PlacedNode("fc", "Gemm", "", executed),), "the profiler"))
    assert found.plan.nodes[0].status is status


def test_another_unit(toys) -> None:
    _, fc = _reconcile(toys, PlacedNode("fc", "FULLY_CONNECTED", "host", "int8"))
    assert fc.status is Status.DIFFERS
    assert fc.reason == "planned for the main unit, placed on host"


def test_what_is_not_shown_was_absorbed(toys) -> None:
    found, _ = _reconcile(toys, PlacedNode("fc", "QLinearGemm", "", "int8"))
    assert found.plan.nodes[0].status is Status.ABSORBED
