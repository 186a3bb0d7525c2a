"""Choices again, once calibration has measured the ranges: what keeps too few steps is promoted.

Everything before calibration is decided without data. Two things need it: whether one scale
serves all operands of a join, and whether a kernel takes the scales that ranges lead to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from qhal.decisions import Code, Decision, Severity
from qhal.errors import RefusedError
from qhal.ir.graph import Graph, Node, NodeView
from qhal.ir.ops import Role
from qhal.quant.activations import plan_activations
from qhal.quant.apart import apart, as_command
from qhal.quant.choice import Choice, Choices, Verdict, fall_back
from qhal.quant.collectors import TensorStats
from qhal.quant.constraints import Constraints, constrain
from qhal.quant.joins import FEW_STEPS, Coarse, find_coarse, leave_mixed
from qhal.quant.promotion import promote
from qhal.targets.capability import Capabilities


@dataclass(frozen=True, eq=False)
class Settled:
    """Constraints that fit what calibration measured.

    Attributes:
        constraints: with the new choices.
        decisions: operands that keep few steps, since the target has no kernel in float.
    """

    constraints: Constraints
    decisions: tuple[Decision, ...] = ()


def settle(
    graph: Graph,
    caps: Capabilities,
    constraints: Constraints,
    stats: Mapping[str, TensorStats],
    observer: str,
    computed: Collection[str] = (),
) -> Settled:
    """Choose again where measured ranges say so.

    Args:
        graph: the float graph that the constraints are of.
        caps: what the target has.
        constraints: made without data.
        stats: of every activation of the graph.
        observer: range estimator: minmax, percentile or mse.
        computed: names of the tensors at which the user's file can be cut.

    Raises:
        RefusedError: an output would keep too few steps, or a node has no kernel that takes its
            scales.
    """
    coarse = find_coarse(graph, constraints.choices, stats)
    choices = {**constraints.choices, **_join_in_float(graph, caps, constraints, coarse)}
    left = tuple(each for each in coarse if choices[each.node].quantized)
    _refuse_outputs(graph, left, constraints, computed)
    kept_apart = frozenset((each.tensor, each.node) for each in left)
    found = constraints
    if coarse:
        found = constrain(graph, caps, constraints.policy, choices, kept_apart)
    while changed := _fit_scales(graph, caps, found, stats, observer):
        choices = {**choices, **changed}
        found = constrain(graph, caps, constraints.policy, choices, kept_apart)
    return Settled(found, tuple(_warnings(graph, left, found)))


# --- joins of different ranges --------------------------------------------------


def _join_in_float(
    graph: Graph, caps: Capabilities, constraints: Constraints, coarse: tuple[Coarse, ...]
) -> Choices:
    nodes = {node.name: node for node in graph.nodes}
    changed: dict[str, Choice] = {}
    if caps.integer_io:
        coarse = tuple(_lost(graph, coarse))
    for each in coarse:
        why = f"{each.tensor} would keep {_steps(each)} beside {each.beside}"
        view, choice = NodeView(graph, nodes[each.node]), constraints.choices[each.node]
        elsewhere = caps.integer_io
        found = promote(view, caps, choice, Code.JOIN_PROMOTED, why, elsewhere=elsewhere)
        if found is not choice:
            changed[each.node] = found
    return changed


def _refuse_outputs(
    graph: Graph,
    left: tuple[Coarse, ...],
    constraints: Constraints,
    computed: Collection[str],
) -> None:
    """Refuse an output of integers in which a part is as good as lost."""
    lost = _lost(graph, left)
    if lost:
        worst = min(lost, key=lambda each: each.steps)
        kinds = {node.name: node.op.kind for node in graph.nodes}
        raise RefusedError(
            f"{kinds[worst.node]} {worst.node}, which becomes an output, would leave "
            f"{worst.tensor} {_steps(worst)} of {_levels(constraints, worst)}: its integers have "
            f"one scale with {worst.beside}.",
            f"{_how_to_part(graph, lost, computed)}, "
            "or choose a target or recipe with finer outputs.",
        )


def _lost(graph: Graph, coarse: tuple[Coarse, ...]) -> list[Coarse]:
    """Return what becomes an output and leaves a part too few steps."""
    leaving = leave_mixed(graph)
    return [each for each in coarse if each.steps < FEW_STEPS and each.node in leaving]


def _how_to_part(graph: Graph, lost: list[Coarse], computed: Collection[str]) -> str:
    """Say how to make outputs of what is lost, which then have scales of their own."""
    names = apart(graph, [each.node for each in lost], computed)
    if not names:
        return "Make its operands outputs of the model by themselves"
    return f"Deploy it with {as_command(names)} and do the rest in your program"


def _warnings(
    graph: Graph, left: tuple[Coarse, ...], constraints: Constraints
) -> Iterator[Decision]:
    kinds = {node.name: node.op.kind for node in graph.nodes}
    warned: set[str] = set()
    for each in left:
        if each.steps < FEW_STEPS and each.tensor not in warned:
            warned.add(each.tensor)
            sentence = (
                f"{kinds[each.node]} {each.node} leaves {each.tensor} {_steps(each)} of "
                f"{_levels(constraints, each)}, for its integers have one scale with "
                f"{each.beside}, and the target has no kernel in float for it."
            )
            yield Decision(Code.FEW_STEPS, sentence, each.tensor, Severity.WARNING)


def _steps(each: Coarse) -> str:
    count = max(1, round(each.steps))
    return f"{count} step{'' if count == 1 else 's'}"


def _levels(constraints: Constraints, each: Coarse) -> int:
    row = constraints.choices[each.node].row
    assert row is not None
    return row.activation.qmax - row.activation.qmin


# --- scales that a kernel does not take -----------------------------------------


def _fit_scales(
    graph: Graph,
    caps: Capabilities,
    constraints: Constraints,
    stats: Mapping[str, TensorStats],
    observer: str,
) -> Choices:
    """Exchange kernels that do not take their scales."""
    choices = constraints.choices
    limited = {n for n, c in choices.items() if c.row is not None and c.row.scales is not None}
    if not limited:
        return {}
    params = plan_activations(constraints, stats, observer).params
    scales = {name: float(each.scale.max()) for name, each in params.items()}
    here = {node.name: node for node in graph.nodes}
    changed: dict[str, Choice] = {}
    for node in constraints.qdq.graph.nodes:
        broken = _broken(node, choices[node.name], scales) if node.name in limited else None
        if broken is not None:
            changed[node.name] = _in_float(NodeView(graph, here[node.name]), caps, broken)
    return changed


def _broken(node: Node, choice: Choice, scales: Mapping[str, float]) -> str | None:
    assert choice.row is not None
    rule = choice.row.scales
    read = [
        scales[name]
        for index, name in enumerate(node.inputs)
        if name in scales and node.op.role(index) is Role.ACTIVATION
    ]
    result = scales.get(node.outputs[0])
    return None if rule is None or result is None else rule.broken_by(read, result)


def _in_float(view: NodeView, caps: Capabilities, why: str) -> Choice:
    found = fall_back(view, caps, why)
    if found.verdict is not Verdict.REFUSED:
        return found
    return replace(found, reason=f"{why}, and the target has no kernel in float for it")
