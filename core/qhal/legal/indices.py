"""Indices in 32 bits, for targets whose kernels take no int64.

ONNX counts in int64; kernels of microcontrollers do in int32. Every int64 tensor of the graph
becomes an int32 one: indices, what is computed from them, and inputs and outputs, for which the
graph keeps the user's type.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from qhal.decisions import Code, Decision
from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, Graph, Node
from qhal.ir.simplify import drop_idle

WIDE, NARROW = DType.INT64, DType.INT32


@dataclass(frozen=True, eq=False)
class Narrowed:
    """A graph whose indices have the element type of a target.

    Attributes:
        graph: tensors keep their names.
        decisions: one for each input or output whose type differs from the user's.
    """

    graph: Graph
    decisions: tuple[Decision, ...] = ()


def narrow_indices(graph: Graph, to: DType) -> Narrowed:
    """Make every int64 tensor an int32 one, unless ``to`` is int64.

    A graph with a constant that int32 cannot hold stays as it is: its nodes are refused then.

    Args:
        graph: in the layout of the target.
        to: the target's type of indices.
    """
    wide = frozenset(name for name, kind in graph.tensors.items() if kind.dtype is WIDE)
    if to is WIDE or not wide or not all(_fits(graph.constants[n]) for n in _held(graph, wide)):
        return Narrowed(graph)
    ends = [name for name in dict.fromkeys((*graph.inputs, *graph.outputs)) if name in wide]
    made = replace(
        graph,
        nodes=tuple(map(_narrow, graph.nodes)),
        tensors={n: replace(t, dtype=NARROW) if n in wide else t for n, t in graph.tensors.items()},
        constants={**graph.constants, **{n: _short(graph, n) for n in _held(graph, wide)}},
        user_types=dict.fromkeys(ends, WIDE),
    )
    return Narrowed(drop_idle(made), tuple(map(_decision, ends)))


def _held(graph: Graph, names: Collection[str]) -> list[str]:
    return [name for name in graph.constants if name in names]


def _fits(value: Array) -> bool:
    bounds = np.iinfo(np.int32)
    return value.size == 0 or bool(value.min() >= bounds.min and value.max() <= bounds.max)


def _short(graph: Graph, name: str) -> Array:
    return np.asarray(graph.constants[name], np.int32)


def _narrow(node: Node) -> Node:
    op = node.op
    if isinstance(op, ops.ArgMax | ops.TopK | ops.Cast) and op.to is WIDE:
        return replace(node, op=replace(op, to=NARROW))
    return node


def _decision(name: str) -> Decision:
    return Decision(
        Code.INDEX_TYPE,
        f"{name} is {NARROW.value} in the artifact and {WIDE.value} in the model: the target's "
        f"kernels take no {WIDE.value}.",
        name,
    )
