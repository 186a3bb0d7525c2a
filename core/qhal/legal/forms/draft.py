"""A few nodes that may replace one, before it is known whether the target has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, Node, TensorType
from qhal.ir.ops import Op
from qhal.ir.shapes import infer


class Surroundings(Protocol):
    """Where a draft reads the tensors that it does not make."""

    def type(self, name: str) -> TensorType:
        """Return the type of a tensor."""
        ...

    def value(self, name: str) -> Array | None:
        """Return the value of a constant; None for other tensors."""
        ...


class Draft:
    """Collects the nodes that replace ``node``; nothing outside changes.

    Calling a draft adds an operator and returns the name of its (first) result, which is
    ``<node>/<hint>``.
    """

    def __init__(self, scope: Surroundings, node: Node) -> None:
        self.node = node
        self._scope = scope
        self._nodes: list[Node] = []
        self._types: dict[str, TensorType] = {}
        self._values: dict[str, Array] = {}

    # --- reading --------------------------------------------------------------

    def type(self, name: str) -> TensorType:
        """Return the type of a tensor of the draft or around it."""
        return self._types[name] if name in self._types else self._scope.type(name)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor of the draft or around it."""
        return self.type(name).shape

    def value(self, name: str) -> Array | None:
        """Return the value of a constant; None for other tensors and for ""."""
        if not name:
            return None
        return self._values[name] if name in self._values else self._scope.value(name)

    def input(self, index: int) -> str:
        """Return the name of operand ``index`` of the node; "" where it is absent."""
        return self.node.inputs[index] if index < len(self.node.inputs) else ""

    def constant_input(self, index: int) -> Array | None:
        """Return the value of operand ``index`` if it is a constant."""
        return self.value(self.input(index))

    def scalar_input(self, index: int) -> float | None:
        """Return the value of operand ``index`` if it is a constant with one value everywhere."""
        value = self.constant_input(index)
        if value is None or value.size == 0 or (value != value.flat[0]).any():
            return None
        return float(value.flat[0])

    # --- writing --------------------------------------------------------------

    def __call__(self, hint: str, op: Op, *inputs: str) -> str:
        """Add an operator with one result."""
        return self.many(hint, op, *inputs)[0]

    def many(self, hint: str, op: Op, *inputs: str) -> tuple[str, ...]:
        """Add an operator with any number of results."""
        types = infer(op, [self.type(name) if name else None for name in inputs])
        name = self._fresh(hint)
        outputs = (name,) if len(types) == 1 else tuple(f"{name}/{i}" for i in range(len(types)))
        self._types.update(zip(outputs, types, strict=True))
        self._nodes.append(Node(name, op, inputs, outputs, self.node.origin))
        return outputs

    def constant(self, hint: str, value: npt.ArrayLike, dtype: DType = DType.FLOAT32) -> str:
        """Add a constant."""
        name = self._fresh(hint)
        array = np.asarray(value, dtype.numpy)
        self._types[name] = TensorType(array.shape, dtype)
        self._values[name] = array
        return name

    def _fresh(self, hint: str) -> str:
        name, count = f"{self.node.name}/{hint}", 1
        while name in self._types or f"{name}/0" in self._types:
            name, count = f"{self.node.name}/{hint}_{count}", count + 1
        return name

    # --- the result -----------------------------------------------------------

    def finished(self, results: Sequence[str]) -> Fragment:
        """Finish the nodes, with ``results`` under the names of the node's outputs.

        A result that is not made here (the operand itself) cannot be renamed; the forms never
        return one.
        """
        pairs = zip(results, self.node.outputs, strict=False)
        names = {inner: outer for inner, outer in pairs if outer}

        def new(name: str) -> str:
            return names.get(name, name)

        nodes = tuple(
            replace(n, inputs=tuple(map(new, n.inputs)), outputs=tuple(map(new, n.outputs)))
            for n in self._nodes
        )
        types = {new(name): type for name, type in self._types.items()}
        return Fragment(nodes, types, self._values)


class Fragment:
    """Finished nodes with the types and constants that they add."""

    def __init__(
        self,
        nodes: tuple[Node, ...],
        types: Mapping[str, TensorType],
        values: Mapping[str, Array],
    ) -> None:
        self.nodes = nodes
        self.types = types
        self.values = values

    def over(self, scope: Surroundings) -> Surroundings:
        """Put the tensors of the fragment in front of ``scope``."""
        return _Overlay(self, scope)

    def of_parts(self, parts: Sequence[Fragment]) -> Fragment:
        """Replace each node of the fragment with a part."""
        types, values = dict(self.types), dict(self.values)
        for part in parts:
            types.update(part.types)
            values.update(part.values)
        return Fragment(tuple(node for part in parts for node in part.nodes), types, values)


class _Overlay:
    """A scope in front of another one."""

    def __init__(self, front: Fragment, back: Surroundings) -> None:
        self._front = front
        self._back = back

    def type(self, name: str) -> TensorType:
        return self._front.types[name] if name in self._front.types else self._back.type(name)

    def value(self, name: str) -> Array | None:
        found = self._front.values.get(name)
        return self._back.value(name) if found is None else found
