"""What masked scores may rise to, wherever they are on their way to a softmax.

A mask may meet another sum or choice before the softmax. Cut at :data:`qhal.quant.scores.MASK_LOW`
the tensor between them has steps of 4, and the scores in it are lost. How far a value may rise
without any share changing is known behind the tensor, from the float model's own values: the
softmax tells it of its operand, and each node on the way of its operands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from math import log

import numpy as np
import numpy.typing as npt

from qhal.ir import ops
from qhal.ir.graph import Array, Graph, Node
from qhal.quant.scores import MASK_LOW, NEGLIGIBLE, AttentionScores

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MaskFloors:
    """Finds what values may rise to: below its floor a value is masked, at it no less.

    Attributes:
        graph: the float graph.
        scores: of the graph.
    """

    graph: Graph
    scores: AttentionScores

    @cached_property
    def ways(self) -> Mapping[str, tuple[Node, ...]]:
        """The nodes on every way from a score or mask to its softmaxes, the last one first."""
        found: dict[str, tuple[Node, ...]] = {}
        for node in reversed(self.graph.nodes):
            behind = {n.name: n for out in node.outputs for n in found.get(out, ())}
            if not isinstance(node.op, ops.Softmax) and not behind:
                continue
            for name in self._followed(node):
                known = {n.name: n for n in found.get(name, ())}
                found[name] = tuple({**known, **behind, node.name: node}.values())
        return found

    def key(self, name: str, digests: Mapping[str, str]) -> str:
        """Digest the computation that decides what the values of a tensor may rise to.

        Args:
            name: of the tensor.
            digests: of what each tensor is the result of.
        """
        made = sorted(digests[out] for node in self.ways[name] for out in node.outputs)
        return sha256("\n".join(made).encode()).hexdigest()

    def of_sample(self, values: Mapping[str, Array]) -> dict[str, Floats]:
        """Find the floor of each tensor that has one.

        Args:
            values: of every float tensor that is no constant, in one sample.
        """
        floors: dict[str, Floats | None] = {}
        known = {**self.graph.constants, **values}
        for node in reversed(self.graph.nodes):
            for name in self._followed(node):
                found = _floor(node, name, known, floors)
                if name in floors:
                    before = floors[name]
                    found = None if found is None or before is None else np.minimum(before, found)
                floors[name] = found
        return {name: floor for name, floor in floors.items() if floor is not None}

    def _followed(self, node: Node) -> list[str]:
        scores, graph = self.scores, self.graph
        seen = (n for n in node.inputs if n in scores.ranges or n in scores.axes)
        return [
            name
            for name in dict.fromkeys(seen)
            if graph.tensors[name].dtype.is_float and name not in graph.constants
        ]


def raise_to(values: Array, floor: Floats) -> Array:
    """Raise what is masked, unless the tensor is nothing but a mask: that needs no fine steps."""
    kept = values[np.greater_equal(values, floor)]
    if not kept.size or kept.min() == kept.max():
        return values
    return np.maximum(values, floor).astype(values.dtype)


# --- the way back through one node ------------------------------------------------


def _floor(
    node: Node, name: str, values: Mapping[str, Array], floors: Mapping[str, Floats | None]
) -> Floats | None:
    """Find the floor of an operand; None if it is unknown."""
    if isinstance(node.op, ops.Softmax):
        return _of_softmax(values[name], node.op.axis)
    behind = [floors.get(out) for out in node.outputs]
    known = [floor for floor in behind if floor is not None]
    if not known or len(known) < len(behind) or node.inputs.count(name) > 1:
        return None
    if isinstance(node.op, ops.Split):
        return np.concatenate(known, node.op.axis)
    found = _through(node, node.inputs.index(name), values, known[0])
    return None if found is None else _narrowed(found, values[name].shape)


def _of_softmax(values: Array, axis: int) -> Floats:
    largest = values.max(axis, keepdims=True).astype(np.float64)
    low = largest - (NEGLIGIBLE + log(values.shape[axis]))
    return np.broadcast_to(np.where(largest > MASK_LOW, low, 0.0), values.shape)


def _through(node: Node, index: int, values: Mapping[str, Array], floor: Floats) -> Floats | None:
    op = node.op
    if isinstance(op, ops.Reshape):
        return floor.reshape(values[node.inputs[0]].shape)
    if isinstance(op, ops.Transpose):
        return floor.transpose(np.argsort(op.perm))
    if isinstance(op, ops.Concat):
        return _part(node, index, values, floor)
    if isinstance(op, ops.Cast | ops.Expand | ops.Clip | ops.Maximum | ops.Minimum):
        return floor
    if isinstance(op, ops.Mul | ops.Div):
        return _unscaled(node, index, values, floor)
    result = np.asarray(values[node.outputs[0]], np.float64)
    if isinstance(op, ops.Where):
        operand = np.broadcast_to(values[node.inputs[index]], result.shape)
        lowest = _lowest(operand, (result == operand) & (result >= floor))
        return np.minimum(np.where(result == operand, floor, np.inf), lowest)
    if isinstance(op, ops.Add) or (isinstance(op, ops.Sub) and index == 0):
        return _of_addend(node, index, values, floor)
    return None


def _part(node: Node, index: int, values: Mapping[str, Array], floor: Floats) -> Floats:
    assert isinstance(node.op, ops.Concat)
    sizes = [values[name].shape[node.op.axis] for name in node.inputs]
    return np.split(floor, np.cumsum(sizes)[:-1], node.op.axis)[index]


def _unscaled(node: Node, index: int, values: Mapping[str, Array], floor: Floats) -> Floats | None:
    factor = np.asarray(values[node.inputs[1 - index]], np.float64)
    if not (np.isfinite(factor).all() and (factor > 0).all()):
        return None
    if isinstance(node.op, ops.Mul):
        return floor / factor
    return None if index else floor * factor


def _of_addend(node: Node, index: int, values: Mapping[str, Array], floor: Floats) -> Floats:
    """Find the floor of one of two addends.

    It rises no further than far below all that is not masked, so that two masks in one place do
    not rise above the scores together.
    """
    result = np.asarray(values[node.outputs[0]], np.float64)
    own, other = (
        np.broadcast_to(np.asarray(values[node.inputs[i]], np.float64), result.shape)
        for i in (index, 1 - index)
    )
    other = -other if isinstance(node.op, ops.Sub) else other
    counts = result >= floor
    return np.minimum(floor - np.maximum(other, _lowest(other, counts)), _lowest(own, counts))


def _lowest(values: Array, counts: npt.NDArray[np.bool_]) -> float:
    """Return a value that is as good as nothing beside the lowest of those that count."""
    kept = values[counts]
    return (float(kept.min()) if kept.size else 0.0) - NEGLIGIBLE


def _narrowed(floor: Floats, shape: tuple[int, ...]) -> Floats:
    """Take the lowest floor of what a value is repeated to."""
    added = tuple(range(floor.ndim - len(shape)))
    lowest = floor.min(added) if added else floor
    repeated = tuple(i for i, size in enumerate(shape) if size == 1 < lowest.shape[i])
    return np.asarray(lowest.min(repeated, keepdims=True) if repeated else lowest)
