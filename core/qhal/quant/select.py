"""Pick one kernel row for every node, or say why there is none."""

from __future__ import annotations

from collections.abc import Mapping

from qhal.ir.graph import Graph, NodeView
from qhal.quant import promotion
from qhal.quant.choice import Choice, choose
from qhal.targets.capability import Capabilities
from qhal.targets.recipe import Recipe


def select(graph: Graph, caps: Capabilities, recipe: Recipe) -> Mapping[str, Choice]:
    """Choose a kernel row for every node, by name, in the graph's order.

    Each node by itself first; then, in this order, what its neighbors make better.
    """
    alone = {node.name: choose(NodeView(graph, node), caps, recipe) for node in graph.nodes}
    followed = promotion.promote_followers(graph, caps, alone)
    arriving = promotion.float_arrivals(graph, followed)
    steep = promotion.promote_steep_operands(graph, caps, followed)
    released = promotion.promote_released(graph, caps, steep, arriving)
    if caps.integer_io:
        return released
    return promotion.promote_outputs(graph, caps, recipe, released)
