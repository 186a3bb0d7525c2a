"""One ONNX node as a mapping sees it: attributes, operands, and ways to emit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qhal.errors import ModelInvalidError
from qhal.ir.graph import Array, TensorType
from qhal.ir.onnx.scope import Scope
from qhal.ir.ops import Op


class Unsupported(Exception):  # noqa: N818 - a verdict that the reader handles, not an error
    """The node has no canonical form; the text is the reason, one sentence without a dot."""


class ImportCall:
    """A node with everything that a mapping asks about it.

    Operands of ONNX that were attributes in some versions are read with :meth:`ints`,
    whatever the version. Indices are those of the ONNX operands.
    """

    def __init__(self, node: ir.Node, scope: Scope) -> None:
        self.node = node
        self.scope = scope
        self.kind = node.op_type
        self.opset = node.version or scope.opsets.get(node.domain, 1)
        self.name = node_name(node)

    # --- attributes -------------------------------------------------------------

    def attribute(self, name: str) -> ir.Attr | None:
        """Return the attribute, or None."""
        return self.node.attributes.get(name)

    def integer(self, name: str, default: int) -> int:
        """Return an integer attribute."""
        found = self.attribute(name)
        return default if found is None else found.as_int()

    def flag(self, name: str, default: bool = False) -> bool:
        """Return an integer attribute that means yes or no."""
        return bool(self.integer(name, int(default)))

    def number(self, name: str, default: float) -> float:
        """Return a float attribute."""
        found = self.attribute(name)
        return default if found is None else found.as_float()

    def text(self, name: str, default: str) -> str:
        """Return a text attribute."""
        found = self.attribute(name)
        return default if found is None else found.as_string()

    def ints(self, name: str, operand: int | None = None) -> tuple[int, ...] | None:
        """Return a list of integers: an attribute, or the constant operand of newer versions.

        Raises:
            Unsupported: the operand is there and not constant.
        """
        found = self.attribute(name)
        if found is not None:
            return tuple(found.as_ints())
        if operand is None or not self.has(operand):
            return None
        return tuple(int(i) for i in self.need(operand, name).reshape(-1))

    # --- operands ---------------------------------------------------------------

    def has(self, index: int) -> bool:
        """Return True if the operand is there."""
        return index < len(self.node.inputs) and self.node.inputs[index] is not None

    def value(self, index: int) -> ir.Value:
        """Return the ONNX value of an operand.

        Raises:
            ModelInvalidError: the operand is absent.
        """
        found = self.node.inputs[index] if index < len(self.node.inputs) else None
        if found is None:
            raise ModelInvalidError(f"Operand {index} of node {self.name!r} is missing.")
        return found

    def tensor(self, index: int) -> str:
        """Return the operand as a tensor of the graph."""
        return self.scope.tensor(self.value(index))

    def optional(self, index: int) -> str:
        """Return the operand as a tensor of the graph, "" if it is absent."""
        return self.tensor(index) if self.has(index) else ""

    def tensors(self) -> tuple[str, ...]:
        """Return all operands as tensors of the graph."""
        return tuple(self.tensor(i) for i in range(len(self.node.inputs)) if self.has(i))

    def type(self, index: int = 0) -> TensorType:
        """Return the static type of an operand."""
        return self.scope.type(self.value(index))

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """Return the static shape of an operand."""
        return self.type(index).shape

    def rank(self, index: int = 0) -> int:
        """Return the number of dimensions of an operand."""
        return len(self.shape(index))

    def constant(self, index: int) -> Array | None:
        """Return the value of a constant operand, None if it is absent or depends on the inputs."""
        return self.scope.constant(self.value(index)) if self.has(index) else None

    def need(self, index: int, what: str) -> Array:
        """Return an operand that the canonical operator needs as a constant.

        Raises:
            Unsupported: it depends on the inputs.
        """
        found = self.constant(index)
        if found is None:
            raise Unsupported(f"it computes its {what} from the model's inputs")
        return found

    def floats(self, index: int, what: str) -> npt.NDArray[np.float32]:
        """Return the value of a constant float operand."""
        return np.asarray(self.need(index, what), np.float32)

    def axis(self, name: str = "axis", default: int = 0, rank: int | None = None) -> int:
        """Return an axis attribute, non-negative."""
        rank = self.rank() if rank is None else rank
        return normal_axis(self.integer(name, default), rank)

    def used(self, index: int) -> bool:
        """Return True if anything reads output ``index``."""
        if index >= len(self.node.outputs):
            return False
        output = self.node.outputs[index]
        return bool(output.name) and (bool(output.uses()) or output.is_graph_output())

    # --- emitting ---------------------------------------------------------------

    def const(self, what: str, array: npt.ArrayLike) -> str:
        """Add a constant to the graph, named after the first output."""
        return self.scope.share(f"{self.node.outputs[0].name}/{what}", np.asarray(array))

    def inner(self, op: Op, *inputs: str) -> str:
        """Emit an intermediate operator; its tensor gets a fresh name."""
        output = self.scope.fresh(f"{self.node.outputs[0].name}/{op.kind}")
        return self._emit(op, inputs, (output,), output)[0]

    def inners(self, op: Op, inputs: Sequence[str], count: int) -> tuple[str, ...]:
        """Emit an intermediate operator with several results."""
        hint = f"{self.node.outputs[0].name}/{op.kind}"
        names = tuple(self.scope.fresh(f"{hint}/{i}") for i in range(count))
        return self._emit(op, inputs, names, hint)

    def result(self, op: Op, *inputs: str, index: int = 0) -> str:
        """Emit the operator that produces an output of the node."""
        return self._emit(op, inputs, (self.output_name(index),), self.name)[0]

    def results(self, op: Op, inputs: Sequence[str], count: int) -> tuple[str, ...]:
        """Emit the operator that produces the first ``count`` outputs."""
        return self.named(op, inputs, [self.output_name(i) for i in range(count)])

    def named(self, op: Op, inputs: Sequence[str], outputs: Sequence[str]) -> tuple[str, ...]:
        """Emit the operator that produces outputs of these names."""
        return self._emit(op, inputs, outputs, self.name)

    def output_name(self, index: int) -> str:
        """Return the name for output ``index``; a fresh one where the user left it out."""
        outputs = self.node.outputs
        if index < len(outputs) and outputs[index].name:
            return self.scope.name_of(outputs[index])
        return self.scope.fresh(f"{outputs[0].name}/{index}")

    def _emit(
        self, op: Op, inputs: Sequence[str], outputs: Sequence[str], name: str
    ) -> tuple[str, ...]:
        return self.scope.builder.add(op, inputs, name=name, outputs=outputs, origin=(self.name,))


Mapper = Callable[[ImportCall], str | tuple[str, ...]]
"""Emits the canonical form of a node and returns its output tensors, in order."""


def need_float(call: ImportCall) -> None:
    """Refuse operands of other types, where only the float operator is canonical.

    Raises:
        Unsupported: operand 0 is not of a float type.
    """
    if not call.type().dtype.is_float:
        raise Unsupported(f"it works on {call.type().dtype.value}")


def node_name(node: ir.Node) -> str:
    """Return the node's name; the name of its first output where it has none."""
    if node.name:
        return node.name
    return next((str(v.name) for v in node.outputs if v.name), node.op_type)


def normal_axis(axis: int, rank: int) -> int:
    """Return a non-negative axis.

    Raises:
        ValueError: it is out of range.
    """
    if not -rank <= axis < max(rank, 1):
        raise ValueError(f"axis {axis} is out of range for rank {rank}")
    return axis + rank if axis < 0 else axis


def normal_axes(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Return non-negative axes, ascending and without repetition."""
    return tuple(sorted({normal_axis(axis, rank) for axis in axes}))
