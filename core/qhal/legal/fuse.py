"""Fuse activations into the operators before them, as far as the target can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Graph, Node
from qhal.ir.ops import Activation, Op
from qhal.targets.capability import Capabilities

_FUSIBLE: Mapping[type[Op], Activation] = {
    ops.Relu: Activation.RELU,
    ops.Relu6: Activation.RELU6,
}

_MOVES = ops.Reshape | ops.Transpose
"""What an activation may pass: it makes no difference which of the two comes first."""


def fuse_activations(graph: Graph, caps: Capabilities) -> Graph:
    """Let Conv, Add … compute the Relu or Relu6 behind them where ``caps.fused`` allows it.

    The fused node makes the tensor that the activation made; the one between is gone. Where the
    data are only moved in between, the last move makes it.
    """
    builder = GraphBuilder(start=graph)
    changed: dict[str, Node] = {}
    absorbed: set[str] = set()
    for node in graph.nodes:
        chain = _chain(graph, caps, node)
        if chain:
            changed.update((new.name, new) for new in _fused(builder, chain, node))
            absorbed.add(node.name)
    if not absorbed:
        return graph
    for node in graph.nodes:
        if node.name not in absorbed:
            builder.emit(changed.get(node.name, node))
    return builder.build()


def _chain(graph: Graph, caps: Capabilities, node: Node) -> list[Node]:
    """Find the node that can compute the activation ``node``, and the moves between; or nothing."""
    activation = _FUSIBLE.get(type(node.op))
    if activation is None:
        return []
    chain: list[Node] = []
    between = node.inputs[0]
    while not chain or isinstance(chain[0].op, _MOVES):
        maker = graph.producers.get(between)
        if maker is None or between in graph.outputs or len(graph.consumers[between]) > 1:
            return []
        chain.insert(0, maker)
        between = next(iter(maker.inputs), "")
    host = chain[0].op
    free = host.carries_activation() and host.fused is Activation.NONE
    return chain if free and activation in caps.fused.get(host.kind, ()) else []


def _fused(builder: GraphBuilder, chain: list[Node], node: Node) -> list[Node]:
    """Put the activation into the chain's first node; rename what flows through it."""
    host, *moves = chain
    names = [builder.fresh(f"{n.outputs[0]}/{node.op.kind}") for n in chain[:-1]]
    host = replace(
        host,
        op=host.op.with_activation(_FUSIBLE[type(node.op)]),
        origin=tuple(dict.fromkeys((*host.origin, *node.origin))),
    )
    moved = [replace(n, inputs=(x, *n.inputs[1:])) for n, x in zip(moves, names, strict=True)]
    outputs = (*names, node.outputs[0])
    return [replace(n, outputs=(y,)) for n, y in zip((host, *moved), outputs, strict=True)]
