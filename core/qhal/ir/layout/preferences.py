"""What the consumers of each tensor prefer: its order, and shuffles they can absorb.

Preferences go backwards through the graph. They decide nothing by themselves; they break ties
where the layout pass is free: at inputs, Reshapes and the rows of weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from qhal.ir import ops
from qhal.ir.graph import Graph, Node
from qhal.ir.layout.order import Order, channels_last, reshaped
from qhal.ir.layout.rules import crd_shuffle, transposed
from qhal.ir.ops import Ints

LayoutPreferences = Mapping[str, Order]

_SPATIAL = (
    ops.Conv
    | ops.DepthwiseConv
    | ops.ConvTranspose
    | ops.MaxPool
    | ops.AveragePool
    | ops.Resize
    | ops.DepthToSpace
    | ops.SpaceToDepth
    | ops.InstanceNorm
)
_SAME_RANK = ops.Slice | ops.Pad | ops.Tile | ops.Split | ops.Concat


def collect_preferences(graph: Graph) -> LayoutPreferences:
    """Map each tensor to the order that most of its consumers prefer."""
    votes: dict[str, Counter[Order]] = {}
    preferences: dict[str, Order] = {}
    for node in reversed(graph.nodes):
        for name in node.outputs:
            if name in votes:
                preferences[name] = votes[name].most_common(1)[0][0]
        for name, order in _node_preferences(graph, node, preferences):
            votes.setdefault(name, Counter())[order] += 1
    for name in graph.inputs:
        if name in votes:
            preferences[name] = votes[name].most_common(1)[0][0]
    return preferences


def _node_preferences(
    graph: Graph, node: Node, preferences: LayoutPreferences
) -> list[tuple[str, Order]]:
    """Return what a node prefers of its operands."""
    preferred = next((preferences[name] for name in node.outputs if name in preferences), None)
    out = graph.tensors[node.outputs[0]].shape
    found = []
    for name in dict.fromkeys(filter(None, node.inputs)):
        if name not in graph.constants:
            order = _operand_preference(node, graph.tensors[name].shape, out, preferred, name)
            if order is not None:
                found.append((name, order if order.is_tidy else order.plain()))
    return found


def _operand_preference(
    node: Node, shape: Ints, out: Ints, preferred: Order | None, name: str
) -> Order | None:
    op: Any = node.op
    if isinstance(op, _SPATIAL):
        return _spatial_preference(op, shape) if name == node.inputs[0] else None
    if preferred is None:
        return None
    match op:
        case ops.Transpose(perm):
            # Undoing a transposition is transposing by its inverse.
            return transposed(preferred, tuple(perm.index(i) for i in range(len(perm))))
        case ops.Reshape():
            return reshaped(preferred, out, shape)
        case ops.Reduce(axes=axes, keepdims=True):
            return preferred.plain(axes)
        case ops.Softmax() | ops.LogSoftmax():
            return preferred
    keeps_axes = op.traits.elementwise or isinstance(op, _SAME_RANK)
    if keeps_axes and len(shape) == len(out):
        other = [axis for axis in range(len(out)) if shape[axis] != out[axis]]
        return preferred.plain(other)
    return None


def _spatial_preference(op: Any, shape: Ints) -> Order | None:
    if isinstance(op, ops.ConvTranspose) and op.groups != 1:
        return None
    order = channels_last(len(shape))
    if isinstance(op, ops.DepthToSpace) and op.mode == "CRD":
        return order.shuffled(1, crd_shuffle(shape[1], op.block))
    return order


# --- shuffles that consumers absorb -------------------------------------------


def collect_absorbed(graph: Graph) -> Mapping[str, frozenset[int]]:
    """Map each tensor to the axes whose shuffle all its consumers absorb in their weights.

    Only the last axis in front of FullyConnected does: a Flatten in front of it then permutes
    the columns of the weight, not the activations.
    """
    absorbed: dict[str, frozenset[int]] = {}
    for node in reversed(graph.nodes):
        for name in node.outputs:
            absorbed[name] = _absorbed_by_all(graph, name, absorbed)
    return absorbed


def _absorbed_by_all(
    graph: Graph, name: str, absorbed: Mapping[str, frozenset[int]]
) -> frozenset[int]:
    if not name or name in graph.outputs or not graph.consumers[name]:
        return frozenset()
    sets = [_absorbed_by(graph, node, name, absorbed) for node in graph.consumers[name]]
    return frozenset.intersection(*sets)


def _absorbed_by(
    graph: Graph, node: Node, name: str, absorbed: Mapping[str, frozenset[int]]
) -> frozenset[int]:
    shape = graph.tensors[name].shape
    if isinstance(node.op, ops.FullyConnected):
        first = node.inputs[0] == name and name not in node.inputs[1:]
        return frozenset({len(shape) - 1}) if first else frozenset()
    traits = node.op.traits
    if traits.elementwise and traits.operands == 1:
        return absorbed[node.outputs[0]]
    mixes = traits.elementwise and traits.homogeneous
    if mixes and _others_are_constant(graph, node, name):
        same = graph.tensors[node.outputs[0]].shape == shape
        return absorbed[node.outputs[0]] if same else frozenset()
    return frozenset()


def _others_are_constant(graph: Graph, node: Node, name: str) -> bool:
    return node.inputs.count(name) == 1 and all(
        other == name or other in graph.constants for other in node.inputs
    )
