"""Pick one kernel row for every node, or say why there is none."""

from __future__ import annotations

from qhal.ir.graph import Graph, NodeView
from qhal.quant import promotion
from qhal.quant.choice import Choices, SelectionPass, SelectionTask, choose
from qhal.targets.capability import Capabilities
from qhal.targets.policy import Policy

PASSES: tuple[SelectionPass, ...] = (
    promotion.promote_followers,
    promotion.promote_steep_operands,
    promotion.promote_released,
    promotion.promote_outputs,
)
"""What the neighborhood of a node makes better, in this order."""


def select(graph: Graph, caps: Capabilities, policy: Policy) -> Choices:
    """Choose for every node, by name, in the graph's order.

    Each node by itself first; then every pass of :data:`PASSES` over the choices of all.

    Args:
        graph: legal for the target and in its layout.
        caps: what the target has.
        policy: gives each node the recipe whose rows it may take.
    """
    choices: Choices = {
        node.name: choose(NodeView(graph, node), caps, policy) for node in graph.nodes
    }
    task = SelectionTask(graph, caps, policy)
    for improve in PASSES:
        choices = improve(task, choices)
    return choices
