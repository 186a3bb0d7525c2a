"""Divisions by a square root as multiplications by a reciprocal one."""

from __future__ import annotations

from dataclasses import replace

from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Graph, Node
from qhal.targets.capability import Capabilities


def use_rsqrt(graph: Graph, caps: Capabilities) -> Graph:
    """Write ``a / sqrt(b)`` as ``a * rsqrt(b)`` for targets with Rsqrt, but not Sqrt and Div."""
    lacks = not (caps.has("Sqrt") and caps.has("Div"))
    roots = {node.name: root for node in graph.nodes if (root := _root(graph, node))}
    if not (lacks and caps.has("Rsqrt") and roots):
        return graph
    builder = GraphBuilder(start=graph)
    for node in graph.nodes:
        if node.name in roots:
            _multiply(builder, node, roots[node.name])
        else:
            builder.emit(node)
    return builder.build()


def _root(graph: Graph, node: Node) -> Node | None:
    """Find the square root that a division divides by."""
    if not isinstance(node.op, ops.Div):
        return None
    root = graph.producers.get(node.inputs[1])
    return root if root is not None and root.op.kind == "Sqrt" else None


def _multiply(builder: GraphBuilder, node: Node, root: Node) -> None:
    numerator = builder.value(node.inputs[0])
    rsqrt = ops.Unary("Rsqrt")
    origin = tuple(dict.fromkeys((*root.origin, *node.origin)))
    fits = builder.type(node.outputs[0]) == builder.type(root.inputs[0])
    if numerator is not None and fits and (numerator == 1).all() and node.op == ops.Div():
        builder.emit(replace(node, op=rsqrt, inputs=root.inputs, origin=origin))
        return
    inverse = builder.one(rsqrt, root.inputs, name=f"{node.name}/rsqrt", origin=origin)
    builder.emit(replace(node, op=ops.Mul(node.op.fused), inputs=(node.inputs[0], inverse)))
