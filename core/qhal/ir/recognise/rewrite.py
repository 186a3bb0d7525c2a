"""The engine: rules look back from a node and replace it with what it computes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Array, Graph, Node, TensorType
from qhal.ir.ops import Op


@dataclass(frozen=True, eq=False)
class New:
    """A constant that a replacement brings; ``like`` is the tensor it is named after."""

    like: str
    value: Array


@dataclass(frozen=True, eq=False)
class Found:
    """A replacement for the node a rule was asked about.

    Attributes:
        op: makes the node's first output.
        inputs: operands: names, or new constants.
        covered: the other nodes of the pattern; they go.
    """

    op: Op
    inputs: tuple[str | New, ...]
    covered: tuple[Node, ...]


class Matcher:
    """The graph while it is rewritten, as rules see it."""

    def __init__(self, graph: Graph) -> None:
        self._builder = GraphBuilder(start=graph)
        self._outputs = frozenset(graph.outputs)
        self._makers: dict[str, Node] = {}
        self._uses = Counter(name for node in graph.nodes for name in node.inputs if name)

    # --- what rules ask ---------------------------------------------------------

    def maker(self, name: str, kind: type[Op] | None = None) -> Node | None:
        """The node that makes a tensor, if it has the wanted operator."""
        node = self._makers.get(name)
        return node if node is not None and (kind is None or isinstance(node.op, kind)) else None

    def constant(self, name: str) -> Array | None:
        """The value of a constant."""
        return self._builder.value(name)

    def scalar(self, name: str) -> float | None:
        """The value of a constant float with one element."""
        value = self._builder.value(name)
        if value is None or value.size != 1 or value.dtype.kind != "f":
            return None
        return float(value.reshape(-1)[0])

    def type(self, name: str) -> TensorType:
        """Static type of a tensor."""
        return self._builder.type(name)

    def uses(self, name: str) -> int:
        """How many operands the tensor is; outputs of the graph count once more."""
        return self._uses[name] + (name in self._outputs)

    def split(self, node: Node) -> tuple[str, Array] | None:
        """The variable and the constant operand of a node with one of each."""
        for a, b in (node.inputs[:2], node.inputs[1::-1]):
            value = self._builder.value(b)
            if value is not None and self._builder.value(a) is None:
                return a, value
        return None

    def split_scalar(self, node: Node) -> tuple[str, float] | None:
        """The variable operand and the constant number of a node with one of each."""
        for a, b in (node.inputs[:2], node.inputs[1::-1]):
            value = self.scalar(b)
            if value is not None and self._builder.value(a) is None:
                return a, value
        return None

    # --- what the engine does ---------------------------------------------------

    def emit(self, node: Node) -> None:
        """Take a node over."""
        self._makers.update(dict.fromkeys(node.outputs, node))

    def replace(self, node: Node, found: Found) -> Node | None:
        """The node that stands for a pattern, if nothing else reads its inside."""
        inside = Counter(name for n in (node, *found.covered) for name in n.inputs if name)
        for gone in found.covered:
            if any(self.uses(name) != inside[name] for name in gone.outputs if name):
                return None
        inputs = tuple(
            self._builder.constant(i.like, i.value) if isinstance(i, New) else i
            for i in found.inputs
        )
        self._uses.subtract(inside)
        self._uses.update(filter(None, inputs))
        for gone in found.covered:
            for name in gone.outputs:
                self._makers.pop(name, None)
        origin = dict.fromkeys(o for n in (*found.covered, node) for o in n.origin)
        return Node(node.name, found.op, inputs, node.outputs, tuple(origin))

    def build(self, order: Sequence[Node]) -> Graph:
        """The rewritten graph; ``order`` says where each output was made."""
        for node in order:
            kept = self._makers.get(next(filter(None, node.outputs)))
            if kept is not None:
                self._builder.emit(kept)
        return self._builder.build()


Rule = Callable[[Matcher, Node], Found | None]
"""Asked with the last node of a pattern; looks back through its operands."""

Rules = Mapping[type[Op], Sequence[Rule]]


def rewrite(graph: Graph, rules: Rules) -> Graph:
    """Apply rules to every node, in order, until none applies."""
    matcher = Matcher(graph)
    changed = False
    for original in graph.nodes:
        node: Node | None = original
        last = original
        while node is not None:
            last, node = node, _apply(matcher, rules, node)
        changed |= last is not original
        matcher.emit(last)
    return matcher.build(graph.nodes) if changed else graph


def _apply(matcher: Matcher, rules: Rules, node: Node) -> Node | None:
    for rule in rules.get(type(node.op), ()):
        found = rule(matcher, node)
        new = None if found is None else matcher.replace(node, found)
        if new is not None:
            return new
    return None


def near(value: float | None, wanted: float) -> bool:
    """True if a constant is what a formula has, up to the rounding of exporters."""
    return value is not None and abs(value - wanted) <= 2e-3 * abs(wanted)


def all_near(value: Array, wanted: float) -> bool:
    """True if all elements are equal to a number."""
    return bool(np.all(np.abs(value - wanted) <= 1e-6 * abs(wanted)))


FloatArray = npt.NDArray[np.float32]
