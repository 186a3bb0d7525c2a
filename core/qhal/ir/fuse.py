"""Fuse activations into the operators before them, as far as the target can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Graph, Node
from qhal.ir.ops import Activation, Op
from qhal.target.capability import Capabilities

_FUSIBLE: Mapping[type[Op], Activation] = {
    ops.Relu: Activation.RELU,
    ops.Relu6: Activation.RELU6,
}


def fuse_activations(graph: Graph, caps: Capabilities) -> Graph:
    """Let Conv, Add … compute the Relu or Relu6 behind them where ``caps.fused`` allows it.

    The fused node makes the tensor that the activation made; the one between is gone.
    """
    hosts: dict[str, Node] = {}
    absorbed: set[str] = set()
    for node in graph.nodes:
        host = _host(graph, caps, node)
        if host is not None:
            hosts[host.name] = _fused(host, node)
            absorbed.add(node.name)
    if not absorbed:
        return graph
    builder = GraphBuilder(start=graph)
    for node in graph.nodes:
        if node.name not in absorbed:
            builder.emit(hosts.get(node.name, node))
    return builder.build()


def _host(graph: Graph, caps: Capabilities, node: Node) -> Node | None:
    """The node that can compute the activation ``node``, or None."""
    activation = _FUSIBLE.get(type(node.op))
    host = graph.producers.get(node.inputs[0]) if activation else None
    if host is None or activation not in caps.fused.get(host.op.kind, ()):
        return None
    between = node.inputs[0]
    if between in graph.outputs or len(graph.consumers[between]) > 1:
        return None
    return host if getattr(host.op, "activation", None) is Activation.NONE else None


def _fused(host: Node, node: Node) -> Node:
    op: Any = host.op
    return replace(
        host,
        op=replace(op, activation=_FUSIBLE[type(node.op)]),
        outputs=node.outputs,
        origin=tuple(dict.fromkeys((*host.origin, *node.origin))),
    )
