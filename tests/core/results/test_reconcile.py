"""Declared, placed, executed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qhal.decisions import Code
from qhal.errors import PluginError
from qhal.metric import Basis, Metric
from qhal.plugin.backend import PlacedNode, Placement
from qhal.quant.choice import Verdict
from qhal.results.plan import NodePlan, Plan, Status, plan_of
from qhal.results.reconcile import Reconciliation, reconcile
from qhal.targets.capability import HOST
from qhal.targets.where import Where, WhereBasis
from tests.core.conftest import Toys


def declared(dtype: str | None) -> Where:
    return Where("", None, dtype, WhereBasis.DECLARED)


def _reconcile(toys: Toys, *placed: PlacedNode) -> tuple[Reconciliation, NodePlan]:
    found = reconcile(plan_of(toys.model), Placement(placed, "the profiler"))
    return found, next(node for node in found.plan.nodes if node.name == "fc")


def test_nobody_can_tell(toys: Toys) -> None:
    found = reconcile(plan_of(toys.model), None)
    assert {node.status for node in found.plan.nodes} == {Status.UNKNOWN}
    assert found.plan.placement_source == ""


def test_as_planned(toys: Toys) -> None:
    found, fc = _reconcile(
        toys, PlacedNode("fc", Where("", "QLinearGemm", "int8", WhereBasis.READ))
    )
    assert fc.status is Status.AS_PLANNED
    assert fc.executed == fc.runs == Where("", "QLinearGemm", "int8", WhereBasis.READ)
    assert fc.placed is None
    assert found.decisions == ()
    assert found.plan.placement_source == "the profiler"


def test_planned_integer_executed_float(toys: Toys) -> None:
    found, fc = _reconcile(toys, PlacedNode("fc", Where("", "Gemm", "float32", WhereBasis.READ)))
    assert fc.status is Status.DIFFERS
    decision = found.decisions[0]
    assert (decision.code, decision.subject) == (Code.PLACEMENT_DIFFERS, "fc")
    assert "declared as int8, executed in float32 by Gemm (the profiler)" in decision.sentence


@pytest.mark.parametrize(
    ("planned", "executed", "status"),
    [
        ("bfloat16", "bfloat16", Status.AS_PLANNED),
        ("bfloat16", "float32", Status.DIFFERS),
        ("bfloat16", None, Status.AS_PLANNED),
        ("float32", "bfloat16", Status.AS_PLANNED),
        ("float32", "int8", Status.AS_PLANNED),
        ("int8", "bfloat16", Status.DIFFERS),
    ],
)
def test_what_runs_in_wider_numbers_than_declared_differs(
    planned: str, executed: str, status: Status
) -> None:
    plan = Plan((), (NodePlan("fc", "FullyConnected", (), (), declared(planned)),))
    placed = (PlacedNode("fc", Where("", "Gemm", executed, WhereBasis.READ)),)
    found = reconcile(plan, Placement(placed, "the profiler"))
    assert found.plan.nodes[0].status is status


def test_another_unit(toys: Toys) -> None:
    _, fc = _reconcile(
        toys, PlacedNode("fc", Where("host", "FULLY_CONNECTED", "int8", WhereBasis.READ))
    )
    assert fc.status is Status.DIFFERS
    assert fc.reason == "planned for the main unit, but placed on host as FULLY_CONNECTED"


def test_what_is_not_shown_was_absorbed(toys: Toys) -> None:
    found, _ = _reconcile(toys, PlacedNode("fc", Where("", "QLinearGemm", "int8", WhereBasis.READ)))
    assert found.plan.nodes[0].status is Status.ABSORBED


FC = NodePlan("logits", "FullyConnected", ("x",), ("logits__quantized",), declared("int8"), macs=9)
CONVERSION_BEHIND = NodePlan(
    "logits/step",
    "Dequantize",
    FC.outputs,
    ("logits",),
    declared("float32"),
    verdict=Verdict.CONVERSION,
)


@pytest.mark.parametrize("by_result", [False, True])
def test_a_node_and_a_result_of_another_have_one_name(by_result: bool) -> None:
    """A model output is called like the node; the conversion behind the node makes it."""
    names = (FC.outputs[0], "logits") if by_result else (FC.name, CONVERSION_BEHIND.name)
    product = PlacedNode(names[0], Where("", "FULLY_CONNECTED", "int8", WhereBasis.READ))
    conversion = PlacedNode(names[1], Where("", "DEQUANTIZE", "float32", WhereBasis.READ))
    placement = Placement((product, conversion), "the runtime", by_result)
    found = reconcile(Plan((), (FC, CONVERSION_BEHIND)), placement)
    executed = [node.executed.as_what for node in found.plan.nodes if node.executed]
    assert executed == ["FULLY_CONNECTED int8", "DEQUANTIZE float32"]
    assert found.decisions == ()


def test_a_conversion_that_is_not_shown_is_not_the_node_that_is_called_like_its_result() -> None:
    placement = Placement(
        (PlacedNode("logits", Where("", "QGemm", "int8", WhereBasis.READ)),), "the runtime"
    )
    found = reconcile(Plan((), (FC, CONVERSION_BEHIND)), placement)
    statuses = [node.status for node in found.plan.nodes]
    assert statuses == [Status.AS_PLANNED, Status.ABSORBED]


def _cycles(value: float) -> Metric:
    return Metric(value, "cycles", Basis.ESTIMATED_COMPILER)


def test_what_makes_tensors_unknown_to_the_plan_is_a_part_of_what_follows() -> None:
    placed = (
        PlacedNode("x/matrix", Where("NPU", "RESHAPE", "int8", WhereBasis.REPORTED)),
        PlacedNode(
            "y/matrix", Where("NPU", "FULLY_CONNECTED", "int8", WhereBasis.REPORTED), _cycles(40)
        ),
        PlacedNode(
            "logits__quantized", Where("NPU", "RESHAPE", "int8", WhereBasis.REPORTED), _cycles(2)
        ),
    )
    placement = Placement(placed, "a compiler", by_result=True)
    found = reconcile(Plan((), (FC,)), placement)
    (node,) = found.plan.nodes
    assert node.placed == Where("NPU", "RESHAPE + FULLY_CONNECTED", "int8", WhereBasis.REPORTED)
    assert (node.executed, node.runs) == (None, node.placed)
    assert node.cost == _cycles(42)
    assert node.status is Status.AS_PLANNED


def test_a_part_in_float_differs() -> None:
    placed = (
        PlacedNode("y/real", Where("", "FULLY_CONNECTED", "float32", WhereBasis.READ)),
        PlacedNode("logits__quantized", Where("", "QUANTIZE", "int8", WhereBasis.READ)),
    )
    placement = Placement(placed, "a runtime", by_result=True)
    found = reconcile(Plan((), (FC,)), placement)
    assert found.plan.nodes[0].reason == "declared as int8, executed in float32 by FULLY_CONNECTED"


def test_integer_products_of_unknown_type_are_one_decision() -> None:
    shown, hidden = replace(FC, name="shown"), replace(FC, name="hidden")
    other = replace(FC, name="other", declared=declared("float32"))
    placed = (
        PlacedNode("shown", Where("", "Subgraph", None, WhereBasis.READ)),
        PlacedNode("logits", Where("", "Gemm", "int8", WhereBasis.READ)),
    )
    plan = Plan((), (FC, shown, hidden, other))
    found = reconcile(plan, Placement(placed, "a runtime"))
    assert [node.runs and node.runs.dtype for node in found.plan.nodes] == [
        "int8",
        None,
        None,
        None,
    ]
    statuses = [node.status.value for node in found.plan.nodes]
    assert statuses == ["as planned", "unknown", "absorbed", "absorbed"]
    (decision,) = found.decisions
    assert decision.code is Code.EXECUTION_UNKNOWN
    assert decision.sentence.startswith(
        "The runtime does not report which type it used for 2 of 3 "
    )
    assert decision.sentence.endswith(" (a runtime): shown, hidden.")


@pytest.mark.parametrize("basis", [WhereBasis.PREDICTED, WhereBasis.REPORTED, WhereBasis.READ])
def test_only_what_was_read_from_the_runtime_is_executed(basis: WhereBasis) -> None:
    placement = Placement((PlacedNode("logits", Where("NPU", "QGemm", "int8", basis)),), "somebody")
    (node,) = reconcile(Plan((), (FC,)), placement).plan.nodes
    read = basis is WhereBasis.READ
    assert (node.placed is None, node.executed is not None) == (read, read)
    assert node.runs == Where("NPU", "QGemm", "int8", basis)


def test_qhals_own_plan_is_no_placement() -> None:
    with pytest.raises(PluginError, match="has the basis 'declared'"):
        PlacedNode("logits", declared("int8"))


@pytest.mark.parametrize("by_result", [False, True])
def test_a_node_is_placed_by_the_compiler_and_executed_by_the_runtime(by_result: bool) -> None:
    name = FC.outputs[0] if by_result else FC.name
    reported = Where("NPU", "FULLY_CONNECTED", "int8", WhereBasis.REPORTED)
    seen = Where(HOST, "Gemm", "int8", WhereBasis.READ)
    entries = (PlacedNode(name, reported, _cycles(40)), PlacedNode(name, seen))
    found = reconcile(Plan((), (FC,)), Placement(entries, "both", by_result))
    (node,) = found.plan.nodes
    assert (node.placed, node.executed, node.runs) == (reported, seen, seen)
    assert node.cost == _cycles(40)
    assert node.status is Status.DIFFERS
    assert node.reason == "planned for the main unit, but placed on host as Gemm"


def test_parts_on_several_units_have_none_in_common() -> None:
    entries = (
        PlacedNode("y/matrix", Where("NPU", "FULLY_CONNECTED", "int8", WhereBasis.REPORTED)),
        PlacedNode("y/flat", Where(None, "RESHAPE", "int8", WhereBasis.PREDICTED)),
        PlacedNode(FC.outputs[0], Where("NPU", "RELU", "int8", WhereBasis.REPORTED)),
    )
    (node,) = reconcile(Plan((), (FC,)), Placement(entries, "both", True)).plan.nodes
    assert node.placed == Where(
        None,
        "FULLY_CONNECTED on NPU + RESHAPE on an unknown unit + RELU on NPU",
        "int8",
        WhereBasis.PREDICTED,
    )
    assert node.status is Status.AS_PLANNED


def test_nothing_is_said_of_a_unit_that_is_unknown() -> None:
    hosted = replace(FC, declared=Where(HOST, None, "int8", WhereBasis.DECLARED))
    seen = PlacedNode(FC.name, Where(None, "QGemm", "int8", WhereBasis.READ))
    for planned in (FC, hosted):
        (node,) = reconcile(Plan((), (planned,)), Placement((seen,), "a runtime")).plan.nodes
        assert (node.status, node.reason) == (Status.AS_PLANNED, "")
