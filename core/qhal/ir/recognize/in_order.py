"""The rules of recognition, in the order in which they are tried."""

from __future__ import annotations

from qhal.ir.graph import Graph
from qhal.ir.recognize.activations import ACTIVATION_RULES
from qhal.ir.recognize.affine import AFFINE_RULES
from qhal.ir.recognize.norm import NORM_RULES
from qhal.ir.recognize.rewrite import rewrite


def recognize(graph: Graph) -> Graph:
    """Rewrite a graph as the same function with the largest canonical operators.

    Activations and normalizations first, because folding constants changes how they look.
    A pattern is replaced only if nothing else reads what it computes on the way.
    """
    graph = rewrite(graph, ACTIVATION_RULES)
    graph = rewrite(graph, NORM_RULES)
    return rewrite(graph, AFFINE_RULES)
