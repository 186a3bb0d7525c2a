"""Pick one kernel row for every node, or say why there is none."""

from __future__ import annotations

from collections.abc import Mapping

from qhal.ir.graph import Graph, NodeView
from qhal.quant import promotion
from qhal.quant.choice import Choice, choose
from qhal.targets.capability import Capabilities
from qhal.targets.recipe import Recipe


def select(graph: Graph, caps: Capabilities, recipe: Recipe) -> Mapping[str, Choice]:
    """A choice for every node, by name, in the graph's order.

    Each node by itself first; then, in this order, what its neighbours make better.
    """
    alone = {node.name: choose(NodeView(graph, node), caps, recipe) for node in graph.nodes}
    followed = promotion.follow_floats(graph, caps, alone)
    arriving = promotion.arriving_floats(graph, followed)
    lifted = promotion.steep_operands(graph, caps, followed)
    released = promotion.release_movement(graph, caps, lifted, arriving)
    return released if caps.integer_io else promotion.outputs(graph, caps, recipe, released)
