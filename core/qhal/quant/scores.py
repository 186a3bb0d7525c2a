"""The scores of an attention and their masks: what counts of them in front of a softmax.

What masks scores need not reach further than to make their share zero: exporters write -Inf,
-3.4e38 or -10000, and 8 bits that reach there have no steps for the scores. A mask may take any
way to the softmax: sums with other masks and with the scores, choices, products with constants,
and every kind of movement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, log, prod

import numpy as np

from qhal.ir import ops
from qhal.ir.graph import Array, Graph, Node
from qhal.ir.ops import Activation
from qhal.quant.range_estimators import RealRange

MASK_LOW = -1e3
"""What is added to a score, or put in its place, may be cut here: no two scores differ so much.

At -1e4 a mask's steps were 390 times those of the sum, and XNNPACK's kernel, which is made for up
to 256 times, gave 4 dB where the reference kernel gave 34.
"""

FINE_SHARE = 0.5
"""Share of a score's useful range; what lies beyond it is a mask, and has no fine steps."""

_HUGE = 1e30
"""Where a range is as good as infinite."""

NEGLIGIBLE = log(2.0 * 2.0**16)
"""How far below the largest operand of a softmax a result is less than half a step of 16 bits."""

_CONVERSIONS = (ops.Quantize, ops.Dequantize, ops.Requantize)
_MOVES = (
    *(ops.Reshape, ops.Transpose, ops.Split, ops.Slice, ops.Concat, ops.Pad, ops.Gather),
    *(ops.Expand, ops.Tile, ops.Cast, *_CONVERSIONS),
)
_PASSES = (ops.Add, ops.Where, ops.Maximum, ops.Minimum)


@dataclass(frozen=True, eq=False)
class AttentionScores:
    """The scores and masks of one graph.

    Attributes:
        graph: before or after conversions were inserted.
        ranges: tensor that only softmaxes see, as a part of their operand -> the range outside of
            which its values make no difference to them.
        axes: tensor that only softmaxes read, directly or moved -> the axis of the softmax in it.
    """

    graph: Graph
    ranges: Mapping[str, RealRange]
    axes: Mapping[str, int]

    @staticmethod
    def of(graph: Graph) -> AttentionScores:
        """Follow every way to a softmax back."""
        return _Tracer(graph).run()

    def is_mask(self, tensor: str) -> bool:
        """Check whether a tensor is a constant among scores: it may saturate, its range is free."""
        value = self.graph.constants.get(tensor) if tensor in self.ranges else None
        return value is not None and value.dtype.kind == "f"

    def constant(self, tensor: str) -> Array:
        """Return the value of a constant, cut to what counts of it if it is a mask."""
        value = self.graph.constants[tensor]
        return clip_scores(value, self.ranges[tensor]) if self.is_mask(tensor) else value

    def origins(self, tensor: str) -> tuple[str, ...]:
        """Find the inputs and float constants that scores or masks are made of in float."""
        found: dict[str, None] = {}
        todo = [tensor]
        while todo:
            name = todo.pop()
            if name in found or (name not in self.ranges and name not in self.axes):
                continue
            found[name] = None
            producer = self.graph.producers.get(name)
            if producer is not None and not isinstance(producer.op, ops.Dequantize):
                todo.extend(producer.inputs)
        kinds = self.graph.tensors
        return tuple(
            name
            for name in found
            if name not in self.graph.producers and kinds[name].dtype.is_float
        )


def clip_scores(values: Array, useful: RealRange) -> Array:
    """Cut values where they are so far off that they mask."""
    low, high = np.asarray(useful, values.dtype)
    return np.clip(values, low, high)


def raise_masked(values: Array, axis: int) -> Array:
    """Raise operands of a softmax to where all of them together are as good as none.

    A row in which everything is masked has no scores and is zero.

    Args:
        values: float, of any shape.
        axis: of the softmax.
    """
    largest = values.max(axis, keepdims=True)
    raised = np.maximum(values, largest - (NEGLIGIBLE + log(values.shape[axis])))
    return np.where(largest > MASK_LOW, raised, np.zeros_like(values))


# --- the way back from a softmax ------------------------------------------------


@dataclass
class _Tracer:
    """Goes through the nodes from last to first; None marks what others than softmaxes read."""

    graph: Graph
    ranges: dict[str, RealRange | None] = field(default_factory=dict)
    axes: dict[str, int | None] = field(default_factory=dict)

    def run(self) -> AttentionScores:
        for name in self.graph.outputs:
            self.ranges[name] = self.axes[name] = None
        for node in reversed(self.graph.nodes):
            for index, name in enumerate(node.inputs):
                if name:
                    self._see(name, self._axis(node, index), self._range(node, index))
        ranges = {name: r for name, r in self.ranges.items() if r is not None}
        axes = {name: axis for name, axis in self.axes.items() if axis is not None}
        return AttentionScores(
            self.graph, {n: r for n, r in ranges.items() if n not in axes and r != _WHOLE}, axes
        )

    def _see(self, name: str, axis: int | None, useful: RealRange | None) -> None:
        self.axes[name] = axis if self.axes.get(name, axis) == axis else None
        seen = self.ranges.get(name, useful)
        both = None if seen is None or useful is None else _union(seen, useful)
        self.ranges[name] = both

    def _axis(self, node: Node, index: int) -> int | None:
        if isinstance(node.op, ops.Softmax):
            return node.op.axis
        axis = self.axes.get(node.outputs[0])
        if axis is None or index > 0:
            return None
        return moved_from(self.graph, node, axis)

    def _range(self, node: Node, index: int) -> RealRange | None:
        if isinstance(node.op, ops.Softmax):
            return MASK_LOW, inf
        found = [self.ranges[name] for name in node.outputs if name in self.ranges]
        ranges = [r for r in found if r is not None]
        if not ranges or len(ranges) < len(found) or node.op.fused is not Activation.NONE:
            return None
        useful = ranges[0]
        for other in ranges[1:]:
            useful = _union(useful, other)
        return _before(self.graph, node, index, useful)


_WHOLE: RealRange = (-inf, inf)


def _union(one: RealRange, other: RealRange) -> RealRange:
    return min(one[0], other[0]), max(one[1], other[1])


def _before(graph: Graph, node: Node, index: int, useful: RealRange) -> RealRange | None:
    """Find what counts of an operand, from what counts of the result."""
    op = node.op
    if isinstance(op, _MOVES + _PASSES):
        return useful
    if isinstance(op, ops.Clip):
        return max(useful[0], op.low), min(useful[1], op.high)
    if isinstance(op, ops.Sub):
        return _divided(useful, -1.0) if index else useful
    if op.kind == "Neg":
        return _divided(useful, -1.0)
    if isinstance(op, ops.Mul):
        return _factor(graph, node, index, useful)
    if isinstance(op, ops.Div) and index == 0:
        factors = graph.constants.get(node.inputs[1])
        return None if factors is None else _scaled(useful, factors, np.reciprocal)
    return None


def _factor(graph: Graph, node: Node, index: int, useful: RealRange) -> RealRange | None:
    """Find what counts of a factor.

    A constant that reaches further than what counts of the product masks: it is multiplied by
    zeros and ones, and may be cut, but they may not.
    """
    if node.inputs[index] in graph.constants:
        return useful
    factors = graph.constants.get(node.inputs[1 - index])
    if factors is None or not factors.size or factors.dtype.kind != "f":
        return None
    if not (useful[0] <= factors.min() and factors.max() <= useful[1]):
        return None
    return _scaled(useful, factors, np.asarray)


def _scaled(
    useful: RealRange, constant: Array, factor_of: Callable[[Array], Array]
) -> RealRange | None:
    """Divide by factors of one sign, the smallest of which leaves most."""
    values = np.asarray(constant, np.float64)
    if not values.size or not np.isfinite(values).all() or not (values != 0).all():
        return None
    factors = np.asarray(factor_of(values), np.float64)
    if (factors < 0).any() and (factors > 0).any():
        return None
    smallest = factors.flat[int(np.argmin(np.abs(factors)))]
    return _divided(useful, float(smallest))


def _divided(useful: RealRange, factor: float) -> RealRange:
    low, high = sorted((useful[0] / factor, useful[1] / factor))
    return (low if low > -_HUGE else -inf), (high if high < _HUGE else inf)


def moved_from(graph: Graph, node: Node, axis: int) -> int | None:
    """Find the operand's axis that a move makes ``axis`` of its result; None if there is none."""
    if isinstance(node.op, _CONVERSIONS):
        return axis
    if isinstance(node.op, ops.Transpose):
        return node.op.perm[axis]
    if not isinstance(node.op, ops.Reshape):
        return None
    before, after = (graph.tensors[name].shape for name in (node.inputs[0], node.outputs[0]))
    same = (
        i
        for i, size in enumerate(before)
        if size == after[axis] and prod(before[:i]) == prod(after[:axis])
    )
    return next(same, None)
