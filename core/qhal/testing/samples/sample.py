"""A graph of one operator, and data for its inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qhal.data import Dataset, load_dataset
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, Graph, TensorType
from qhal.ir.ops import Op

Shape = tuple[int, ...]

PLANE: Shape = (1, 4, 6, 7)
"""The shape of most samples: four channels of 6 x 7."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A graph of one node, in NCHW, with the range of its inputs.

    Attributes:
        op: the operator.
        inputs: operands that are inputs of the graph: shapes (of float32), or types.
        constants: operands behind the inputs, in order; None for one that is absent.
        low: the least value of a float input.
        high: the largest value of a float input.
        label: distinguishes samples of one operator.
        first: constant operands in front of the inputs, in order.
        last: operands behind the constants that are inputs, too.
    """

    op: Op
    inputs: tuple[Shape | TensorType, ...]
    constants: tuple[Array | None, ...] = ()
    low: float = -2.0
    high: float = 2.0
    label: str = ""
    first: tuple[Array, ...] = ()
    last: tuple[Shape | TensorType, ...] = ()

    def __str__(self) -> str:
        """Return the kind of the operator and the label."""
        return f"{self.op.kind}{'-' if self.label else ''}{self.label}"

    def graph(self) -> Graph:
        """Build the graph; its node is called ``node``."""
        builder = GraphBuilder(str(self))
        made = self.add_to(builder)
        return builder.build(outputs=made)

    def add_to(self, builder: GraphBuilder, prefix: str = "") -> tuple[str, ...]:
        """Add the operands and the node to a graph, under names that begin with a prefix.

        Returns:
            The node's results.
        """
        names = [builder.constant(f"{prefix}first", value) for value in self.first]
        for index, given in enumerate(self.inputs):
            names.append(builder.input(f"{prefix}x:{index}", _type(given)))
        for index, value in enumerate(self.constants):
            hint = f"{prefix}c{index}"
            names.append("" if value is None else builder.constant(hint, value))
        for index, given in enumerate(self.last, len(self.inputs)):
            names.append(builder.input(f"{prefix}x:{index}", _type(given)))
        return builder.add(self.op, names, name=f"{prefix}node")


def _type(given: Shape | TensorType) -> TensorType:
    return given if isinstance(given, TensorType) else TensorType(given)


def random_data(graph: Graph, low: float = -2.0, high: float = 2.0, count: int = 4) -> Dataset:
    """Draw sample data for the inputs of a graph, the same at every call.

    Args:
        graph: any graph.
        low: the least value of a float input.
        high: the largest value of a float input.
        count: how many samples.

    Returns:
        Uniform values for float inputs, all bytes for inputs of bytes; 0 and 1 for inputs of
        other integers or booleans.
    """
    rng = np.random.default_rng(3)
    types = {name: graph.tensors[name] for name in graph.inputs}
    arrays: dict[str, Array] = {}
    for name, kind in types.items():
        shape = (count, *kind.shape)
        is_float = kind.dtype.is_float
        most = 256 if kind.dtype is DType.UINT8 else 2
        drawn = rng.uniform(low, high, shape) if is_float else rng.integers(0, most, shape)
        arrays[name] = drawn.astype(kind.dtype.numpy)
    return load_dataset(arrays, types)


def uniform(rng: np.random.Generator, *shape: int) -> Array:
    """Draw float32 numbers between -1 and 1."""
    return rng.uniform(-1, 1, shape).astype(np.float32)
