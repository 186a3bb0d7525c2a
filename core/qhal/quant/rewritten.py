"""What a pass over the float graph makes."""

from __future__ import annotations

from dataclasses import dataclass

from qhal.decisions import Decision
from qhal.ir.graph import Graph


@dataclass(frozen=True, eq=False)
class Rewritten:
    """A float graph in the place of another, with the same inputs, outputs and function.

    Attributes:
        graph: the graph; the given one if there was nothing to do.
        decisions: what was changed and why.
    """

    graph: Graph
    decisions: tuple[Decision, ...]
