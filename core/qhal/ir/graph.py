"""The graph: nodes in topological order over named tensors. Everything is frozen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod

import numpy as np
import numpy.typing as npt

from qhal.ir.dtypes import DType
from qhal.ir.ops import Op, Role

Array = npt.NDArray[np.generic]

Arrays = Mapping[str, Array]
"""Arrays by name, such as the inputs or the outputs of a model."""

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes by name of the input, where a model leaves dimensions free."""


@dataclass(frozen=True)
class TensorType:
    """Static shape and element type."""

    shape: tuple[int, ...]
    dtype: DType = DType.FLOAT32

    @property
    def elements(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype.value}[{'x'.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Node:
    """One operator applied to named tensors.

    Attributes:
        name: unique in the graph.
        op: the operator with its static attributes.
        inputs: operand names; "" where an optional operand is absent.
        outputs: names of what it makes.
        origin: names of the nodes of the user's model that it comes from.
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    origin: tuple[str, ...] = ()

    @property
    def activations(self) -> tuple[str, ...]:
        """The operands that are activations, constant ones included."""
        roles = ((name, self.op.role(index)) for index, name in enumerate(self.inputs) if name)
        return tuple(name for name, role in roles if role is Role.ACTIVATION)


@dataclass(frozen=True, eq=False)
class Graph:
    """A model.

    Attributes:
        name: the model's name.
        inputs: names of the inputs, in order.
        outputs: names of the outputs, in order.
        nodes: in topological order.
        tensors: type of every tensor, constants included.
        constants: values of the constants (may be memory-mapped; never write to them).
        permutations: for inputs and outputs whose order of dimensions differs from the
            user's model: name -> perm with ``here = np.transpose(there, perm)``.
        user_types: for inputs and outputs whose element type differs from the user's model:
            name -> type there.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    tensors: Mapping[str, TensorType]
    constants: Mapping[str, Array] = field(default_factory=dict)
    permutations: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    user_types: Mapping[str, DType] = field(default_factory=dict)

    @cached_property
    def producers(self) -> Mapping[str, Node]:
        """Tensor -> the node that makes it (inputs and constants have none)."""
        return {out: node for node in self.nodes for out in node.outputs}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Node, ...]]:
        """Tensor -> the nodes that read it, in order, each once."""
        found: dict[str, list[Node]] = {name: [] for name in self.tensors}
        for node in self.nodes:
            for name in dict.fromkeys(filter(None, node.inputs)):
                found[name].append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    def computed(self, node: Node) -> tuple[str, ...]:
        """Return the activations that a node reads, without constants."""
        return tuple(name for name in node.activations if name not in self.constants)

    def with_nodes(
        self,
        nodes: Iterable[Node],
        tensors: Mapping[str, TensorType] | None = None,
        constants: Mapping[str, Array] | None = None,
    ) -> Graph:
        """Copy the graph with other nodes; drop tensors and constants that nothing names."""
        nodes = tuple(nodes)
        used = {*self.inputs, *self.outputs}
        used.update(name for n in nodes for name in (*n.inputs, *n.outputs) if name)
        tensors = self.tensors if tensors is None else tensors
        constants = self.constants if constants is None else constants
        return replace(
            self,
            nodes=nodes,
            tensors={k: v for k, v in tensors.items() if k in used},
            constants={k: v for k, v in constants.items() if k in used},
        )


@dataclass(frozen=True)
class NodeView:
    """A node with its surroundings: what a limit or a backend asks about it."""

    graph: Graph
    node: Node

    @property
    def op(self) -> Op:
        """The operator."""
        return self.node.op

    def input(self, index: int = 0) -> TensorType:
        """Return the type of operand ``index``."""
        return self.graph.tensors[self.node.inputs[index]]

    def output(self, index: int = 0) -> TensorType:
        """Return the type of result ``index``."""
        return self.graph.tensors[self.node.outputs[index]]

    def has(self, index: int) -> bool:
        """Return True if operand ``index`` is there."""
        return index < len(self.node.inputs) and bool(self.node.inputs[index])

    def is_constant(self, index: int) -> bool:
        """Return True if operand ``index`` is a constant."""
        return self.has(index) and self.node.inputs[index] in self.graph.constants

    def constant(self, index: int) -> Array:
        """Return the value of the constant operand ``index``."""
        return self.graph.constants[self.node.inputs[index]]
