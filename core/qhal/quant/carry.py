"""The carry of a state: the sums and products through which it reaches the next frame.

What is rounded there comes back in every frame: increments below half a step are lost, and others
add up. What reads nothing else, element by element, goes along, so that it is rounded once. All
the rest of a recurrent layer sees the state once per frame, and may be coarse.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from qhal.decisions import Code
from qhal.ir.graph import Graph, Node, NodeView
from qhal.ir.ops import REARRANGING
from qhal.quant.choice import Choice, Choices
from qhal.quant.promotion import promote
from qhal.targets.target import Target

_SUMS = frozenset({"Add", "Sub", "Mul"})
_GATES = frozenset({"Sigmoid", "Tanh", "Relu", "HardSigmoid", "Clip"})


def carry_in_float(
    graph: Graph, target: Target, choices: Choices, pairs: Mapping[str, str]
) -> Choices:
    """Promote the carry of every state where 8 bits would round it and the target has floats.

    Where inputs and outputs are integers a state is rounded anyway, and nothing is changed.

    Args:
        graph: legal for the target and in its layout.
        target: what is quantized for.
        choices: of every node.
        pairs: output -> the input that it feeds in the next frame.
    """
    if not pairs or target.caps.integer_io:
        return choices
    carried = _carried(graph, pairs)
    changed: dict[str, Choice] = {}
    for node in graph.nodes:
        view, choice = NodeView(graph, node), choices[node.name]
        if node.name in carried and choice.quantized and target.policy.recipe_for(view).narrow:
            why = "a state is carried through it, and rounding would add up from frame to frame"
            changed[node.name] = promote(view, target.caps, choice, Code.STATE_PROMOTED, why)
    return {**choices, **changed}


def _carried(graph: Graph, pairs: Mapping[str, str]) -> frozenset[str]:
    """Find the nodes of all carries that compute, and what they sum up."""
    ahead = _reach(graph, pairs.values(), forward=True)
    back = _reach(graph, pairs, forward=False)
    ways = {node.name for node in graph.nodes if node.name in ahead & back}
    sums = {n.name for n in graph.nodes if n.name in ways and n.op.kind in _SUMS}
    if not sums:
        return frozenset()
    found = set(sums)
    for node in reversed(graph.nodes):
        if node.op.kind in _SUMS | _GATES | REARRANGING and _feeds(graph, node, found):
            found.add(node.name)
    found |= {n.name for n in graph.nodes if n.name in ways and n.op.kind in REARRANGING}
    return frozenset(found | _behind(graph, found, pairs.values()))


def _behind(graph: Graph, found: Collection[str], states: Iterable[str]) -> set[str]:
    """Find what reads nothing but states and carries, element by element.

    It is rounded once then, in front of the next product and with a range of its own: ``h`` and
    ``c`` of an LSTM, of 1 and of 20, may come as one tensor.
    """
    in_float, behind = set(states), set[str]()
    for node in graph.nodes:
        operands = graph.computed(node)
        reads = bool(operands) and in_float.issuperset(operands)
        if reads and node.op.kind in _SUMS | _GATES | REARRANGING:
            behind.add(node.name)
        if node.name in behind or node.name in found:
            in_float.update(node.outputs)
    return behind


def _feeds(graph: Graph, node: Node, found: Collection[str]) -> bool:
    readers = [r for out in node.outputs for r in graph.consumers.get(out, ())]
    return any(reader.name in found for reader in readers)


def _reach(graph: Graph, tensors: Iterable[str], *, forward: bool) -> frozenset[str]:
    """Find the nodes that tensors reach through sums, products of two tensors, and moves."""
    found: set[str] = set()
    todo = list(tensors)
    while todo:
        tensor = todo.pop()
        producer = graph.producers.get(tensor)
        near = graph.consumers.get(tensor, ()) if forward else (producer,) if producer else ()
        for node in near:
            if node.name in found or node.op.kind not in _SUMS | REARRANGING:
                continue
            found.add(node.name)
            todo.extend(node.outputs if forward else graph.computed(node))
    return frozenset(found)
