"""A mutable helper with which graphs and passes are written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, Graph, Node, TensorType
from qhal.ir.ops import Op
from qhal.ir.shapes import infer, same_kind
from qhal.ir.verify import verify


class GraphBuilder:
    """Collects nodes in topological order; types are inferred as they come.

    Args:
        name: name of the graph; that of ``start`` if empty.
        start: a graph to rewrite: its tensors, constants, inputs, outputs, permutations
            and user types are taken over, its nodes are not. Types of tensors are inferred anew
            as the nodes are emitted.
    """

    def __init__(self, name: str = "", start: Graph | None = None) -> None:
        self._name = name or (start.name if start else "")
        self._inputs: list[str] = list(start.inputs) if start else []
        self._outputs: list[str] = list(start.outputs) if start else []
        self._types: dict[str, TensorType] = dict(start.tensors) if start else {}
        self._values: dict[str, Array] = dict(start.constants) if start else {}
        self._permutations = dict(start.permutations) if start else {}
        self._user_types = dict(start.user_types) if start else {}
        self._nodes: list[Node] = []
        self._node_names: set[str] = set()
        self._next_suffix: dict[str, int] = {}
        # Names that nodes to be emitted later will use: a fresh node must not take them.
        self._reserved = {node.name for node in start.nodes} if start else set()

    # --- reading --------------------------------------------------------------

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes so far."""
        return tuple(self._nodes)

    def type(self, name: str) -> TensorType:
        """Return the type of a tensor."""
        return self._types[name]

    def value(self, name: str) -> Array | None:
        """Return the value of a constant; None for other tensors and for ""."""
        return self._values.get(name)

    # --- names, inputs, constants ---------------------------------------------

    def fresh(self, hint: str) -> str:
        """Return a tensor name that is not in use: ``hint``, or ``hint`` with a number."""
        return self._unique(hint or "tensor", self._types)

    def _unique(self, hint: str, *taken: set[str] | dict[str, TensorType]) -> str:
        name, count = hint, self._next_suffix.get(hint, 1)
        while any(name in names for names in taken):
            name, count = f"{hint}_{count}", count + 1
        self._next_suffix[hint] = count
        return name

    def input(self, name: str, type: TensorType) -> str:
        """Declare a graph input."""
        self._inputs.append(name)
        self._types[name] = type
        return name

    def constant(self, hint: str, array: Array) -> str:
        """Add a constant under a fresh name."""
        return self.define(self.fresh(hint), array)

    def define(self, name: str, array: Array) -> str:
        """Set a constant under exactly this name, in place of one that has it."""
        value = np.asarray(array)
        self._types[name] = TensorType(tuple(value.shape), DType.of(value))
        self._values[name] = value
        return name

    # --- nodes ----------------------------------------------------------------

    def add(
        self,
        op: Op,
        inputs: Sequence[str],
        *,
        name: str | None = None,
        outputs: Sequence[str] | None = None,
        origin: Sequence[str] = (),
    ) -> tuple[str, ...]:
        """Append a node and return the names of its outputs.

        Args:
            op: the operator.
            inputs: operand names; "" where one is absent.
            name: hint for the node's name; the operator's kind if None.
            outputs: names for the outputs; fresh ones from the node's name if None.
            origin: nodes of the user's model that it comes from.

        Raises:
            ValueError: the operands do not fit.
        """
        types = infer(op, [self._types[i] if i else None for i in inputs])
        hint = name or (outputs[0] if outputs else op.kind)
        node_name = self._unique(hint, self._node_names, self._reserved)
        if outputs is None:
            hints = [node_name] if len(types) == 1 else [f"{node_name}/{i}" for i in range(9999)]
            outputs = [self.declare(self.fresh(h), t) for h, t in zip(hints, types, strict=False)]
        self._append(Node(node_name, op, tuple(inputs), tuple(outputs), tuple(origin)), types)
        return tuple(outputs)

    def one(
        self,
        op: Op,
        inputs: Sequence[str],
        *,
        name: str | None = None,
        output: str | None = None,
        origin: Sequence[str] = (),
    ) -> str:
        """Call :meth:`add` for an operator with a single output and return its name."""
        outputs = None if output is None else (output,)
        (made,) = self.add(op, inputs, name=name, outputs=outputs, origin=origin)
        return made

    def emit(self, node: Node) -> None:
        """Append an existing node as it is; its output types are inferred anew.

        The types of an :class:`~qhal.ir.ops.Opaque` node's outputs must be known already
        (they are, if the node comes from the graph that the builder started from).
        """
        types: tuple[TensorType, ...] = ()
        if not isinstance(node.op, ops.Opaque):
            types = infer(node.op, [self._types[i] if i else None for i in node.inputs])
        self._append(node, types)

    def _append(self, node: Node, types: Sequence[TensorType]) -> None:
        for output, inferred in zip(node.outputs, types, strict=False):
            if output and not self._keeps(output, inferred):
                self._types[output] = inferred
        self._nodes.append(node)
        self._node_names.add(node.name)

    def _keeps(self, name: str, inferred: TensorType) -> bool:
        """Return True if the known type fits: what quantization chose is not inferred away."""
        known = self._types.get(name)
        if known is None or known.shape != inferred.shape:
            return False
        return same_kind(known.dtype, inferred.dtype)

    def declare(self, name: str, type: TensorType) -> str:
        """State the type of a tensor that a later node will produce."""
        self._types[name] = type
        return name

    # --- the result -----------------------------------------------------------

    def build(
        self, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None
    ) -> Graph:
        """Build the graph, without the nodes, tensors and constants that no output needs.

        Args:
            inputs: the graph's inputs; those declared if None. Unused ones stay.
            outputs: the graph's outputs; those of the graph it started from if None.
        """
        given = tuple(self._inputs if inputs is None else inputs)
        wanted = tuple(self._outputs if outputs is None else outputs)
        ends = {*given, *wanted}
        permutations = {k: v for k, v in self._permutations.items() if k in ends}
        user_types = {k: v for k, v in self._user_types.items() if k in ends}
        graph = Graph(
            self._name, given, wanted, (), self._types, self._values, permutations, user_types
        ).with_nodes(needed_nodes(self._nodes, wanted))
        verify(graph)
        return graph


def needed_nodes(nodes: Sequence[Node], outputs: Sequence[str]) -> list[Node]:
    """Return the nodes that ``outputs`` depend on, in order."""
    live = set(outputs)
    kept: list[Node] = []
    for node in reversed(nodes):
        if not live.isdisjoint(node.outputs):
            kept.append(node)
            live.update(filter(None, node.inputs))
    return kept[::-1]
