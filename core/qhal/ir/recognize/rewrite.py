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
from qhal.ir.shapes import infer


@dataclass(frozen=True, eq=False)
class New:
    """A constant that a replacement adds; ``like`` is the tensor it is named after."""

    like: str
    value: Array


@dataclass(frozen=True, eq=False)
class InnerOp:
    """An operator that a replacement needs before its last one."""

    op: Op
    inputs: tuple[NewOperand, ...]


NewOperand = str | New | InnerOp
NewOperands = tuple[NewOperand, ...]


@dataclass(frozen=True, eq=False)
class Replacement:
    """A replacement for the node that a rule was asked about.

    Attributes:
        op: makes the node's first output.
        inputs: operands: tensors, new constants or further operators.
        covered: the other nodes of the pattern; they go.
    """

    op: Op
    inputs: NewOperands
    covered: tuple[Node, ...]


class Matcher:
    """The graph while it is rewritten, as rules see it: all that comes before a node."""

    def __init__(self, graph: Graph, rules: Rules) -> None:
        self._rules = rules
        self._builder = GraphBuilder(start=graph)
        self._outputs = frozenset(graph.outputs)
        self._emitted: list[Node] = []
        self._makers: dict[str, Node] = {}
        self._uses = Counter(name for node in graph.nodes for name in node.inputs if name)

    # --- what rules ask ---------------------------------------------------------

    def maker(self, name: str, kind: type[Op] | None = None) -> Node | None:
        """Return the node that makes a tensor, if it has the wanted operator."""
        node = self._makers.get(name)
        return node if node is not None and (kind is None or isinstance(node.op, kind)) else None

    def constant(self, name: str) -> FloatArray | None:
        """Return the value of a float constant."""
        value = self._builder.value(name)
        return None if value is None or value.dtype != np.float32 else np.asarray(value, np.float32)

    def scalar(self, name: str) -> float | None:
        """Return the value of a float constant with one element."""
        value = self.constant(name)
        return float(value.reshape(-1)[0]) if value is not None and value.size == 1 else None

    def type(self, name: str) -> TensorType:
        """Return the static type of a tensor."""
        return self._builder.type(name)

    def uses(self, name: str) -> int:
        """Count the operands that the tensor is; an output of the graph counts once more."""
        return self._uses[name] + (name in self._outputs)

    def split(self, node: Node) -> tuple[str, FloatArray] | None:
        """Split a node with one variable and one constant operand into the two.

        None if the constant decides the type of the result, too.
        """
        for a, b in (node.inputs[:2], node.inputs[1::-1]):
            value = self.constant(b)
            if value is not None and self._builder.value(a) is None:
                return (a, value) if self.type(a) == self.type(node.outputs[0]) else None
        return None

    def split_scalar(self, node: Node) -> tuple[str, float] | None:
        """Return the variable and the constant number of a node with one of each."""
        parts = self.split(node)
        if parts is None or parts[1].size != 1:
            return None
        return parts[0], float(parts[1].reshape(-1)[0])

    # --- what the engine does ---------------------------------------------------

    def take(self, node: Node) -> None:
        """Emit a node, or what the rules make of it."""
        found = self._find(node)
        if found is not None:
            self.take(self._replace(node, found))
            return
        self._emitted.append(node)
        self._makers.update(dict.fromkeys(node.outputs, node))

    def _find(self, node: Node) -> Replacement | None:
        """Find the first replacement whose inside nothing else reads."""
        for rule in self._rules.get(type(node.op), ()):
            found = rule(self, node)
            if found is not None and self._is_private(node, found):
                return found
        return None

    def _is_private(self, node: Node, found: Replacement) -> bool:
        inside = Counter(name for n in (node, *found.covered) for name in n.inputs)
        made = (name for gone in found.covered for name in gone.outputs if name)
        return all(self.uses(name) == inside[name] for name in made)

    def _replace(self, node: Node, found: Replacement) -> Node:
        """Emit the operators of a replacement and return the node that stands for the pattern."""
        for gone in (node, *found.covered):
            self._uses.subtract(filter(None, gone.inputs))
        for gone in found.covered:
            for name in gone.outputs:
                self._makers.pop(name, None)
        origin = tuple(dict.fromkeys(o for n in (*found.covered, node) for o in n.origin))
        inputs = self._operands(node, origin, found.inputs)
        return Node(node.name, found.op, inputs, node.outputs, origin)

    def _operands(
        self, node: Node, origin: tuple[str, ...], inputs: NewOperands
    ) -> tuple[str, ...]:
        names = tuple(self._operand(node, origin, operand) for operand in inputs)
        self._uses.update(filter(None, names))
        return names

    def _operand(self, node: Node, origin: tuple[str, ...], operand: NewOperand) -> str:
        if isinstance(operand, New):
            return self._builder.constant(operand.like, operand.value)
        return self._inner(node, origin, operand) if isinstance(operand, InnerOp) else operand

    def _inner(self, node: Node, origin: tuple[str, ...], inner: InnerOp) -> str:
        inputs = self._operands(node, origin, inner.inputs)
        name = self._builder.fresh(f"{node.outputs[0]}/{inner.op.kind}")
        (made,) = infer(inner.op, [self.type(i) for i in inputs])
        self._builder.declare(name, made)
        self.take(Node(name, inner.op, inputs, (name,), origin))
        return name

    def build(self) -> Graph:
        """Build the rewritten graph."""
        for node in self._emitted:
            if self._makers.get(next(filter(None, node.outputs))) is node:
                self._builder.emit(node)
        return self._builder.build()


RewriteRule = Callable[[Matcher, Node], Replacement | None]
"""Asked with the last node of a pattern; looks back through its operands."""

Rules = Mapping[type[Op], Sequence[RewriteRule]]

FloatArray = npt.NDArray[np.float32]


def rewrite(graph: Graph, rules: Rules) -> Graph:
    """Apply rules to every node, in order, until none applies."""
    matcher = Matcher(graph, rules)
    for node in graph.nodes:
        matcher.take(node)
    return matcher.build()


def near(value: float | None, wanted: float) -> bool:
    """Return True if a constant is a formula's, up to the digits that exporters write."""
    return value is not None and abs(value - wanted) <= 2e-3 * abs(wanted)
