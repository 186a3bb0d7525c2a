"""Where to cut a model so that what one scale cannot hold becomes outputs of their own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from qhal.ir.graph import Graph, Node
from qhal.quant.joins import MOVES
from qhal.words import as_option


def apart(graph: Graph, lost: Collection[str], computed: Collection[str]) -> tuple[str, ...]:
    """Find the tensors to end the model at, in place of its outputs.

    Args:
        graph: the float graph in the target's layout.
        lost: names of the nodes that make or read a tensor of which a part keeps few steps.
        computed: names of the tensors at which the user's file can be cut.

    Returns:
        For each output the operands of what would lose them; nothing if one has no name in the
        user's file.
    """
    finder = _Finder(graph, frozenset(lost), frozenset(computed))
    whole = all(finder.follow(name) for name in graph.outputs)
    return tuple(finder.found) if whole and set(finder.found) != set(graph.outputs) else ()


def as_command(names: Collection[str]) -> str:
    """Write the options that end a model at these tensors."""
    return " ".join(as_option("--output", name) for name in names)


@dataclass
class _Finder:
    graph: Graph
    lost: frozenset[str]
    computed: frozenset[str]
    found: dict[str, None] = field(default_factory=dict)

    def follow(self, name: str) -> bool:
        """Find what a tensor is made of; return False if something of it cannot be named."""
        node = self.graph.producers.get(name)
        if node is None:
            return True  # an input or a constant, which the user has
        if node.name in self.lost:
            return all(self.follow(operand) for operand in self._floats(node))
        while node is not None and name not in self.computed and node.op.kind in MOVES:
            name = node.inputs[0]
            node = self.graph.producers.get(name)
        if node is None:
            return True
        self.found.setdefault(name)
        return name in self.computed

    def _floats(self, node: Node) -> list[str]:
        return [n for n in self.graph.computed(node) if self.graph.tensors[n].dtype.is_float]
