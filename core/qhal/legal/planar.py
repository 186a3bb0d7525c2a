"""For channels-last targets: 1-D windows become 2-D, transposed convolutions lose their groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from qhal.decisions import Code, Decision
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Graph, Node
from qhal.ir.ops import Ints, Op
from qhal.legal.decompose import insert
from qhal.legal.forms import volumes
from qhal.legal.forms.draft import Draft
from qhal.legal.forms.functions import Results

_WEIGHTED = ops.Conv | ops.DepthwiseConv | ops.ConvTranspose
_POOLING = ops.MaxPool | ops.AveragePool

_VOLUMES: Mapping[type[Op], tuple[Callable[[Draft], Results], str]] = {
    **dict.fromkeys(
        (ops.Conv, ops.DepthwiseConv),
        (volumes.conv_by_planes, "as a 2-D convolution, with the depth of its kernel in channels"),
    ),
    **dict.fromkeys(
        (ops.MaxPool, ops.AveragePool),
        (volumes.pool_in_two_steps, "as two 2-D poolings, the second of them in depth"),
    ),
    ops.ConvTranspose: (
        volumes.conv_transpose_by_conv,
        "as a convolution of the tensor with zeros between its elements",
    ),
}
"""Operator -> how it is written in 2-D, and what says so."""

_MAX_ROUNDS = 3


def to_planar(graph: Graph) -> tuple[Graph, tuple[Decision, ...]]:
    """Write 1-D and 3-D convolutions and poolings in 2-D, and ungroup transposed ones.

    Runtimes that compute channels last have no others.
    """
    decisions: tuple[Decision, ...] = ()
    for _ in range(_MAX_ROUNDS):
        graph, found = _round(graph)
        if not found:
            break
        decisions += found
    return graph, decisions


def _round(graph: Graph) -> tuple[Graph, tuple[Decision, ...]]:
    builder = GraphBuilder(start=graph)
    decisions = []
    for node in graph.nodes:
        draft = Draft(builder, node)
        sentence = _rewritten(graph, node, draft)
        if sentence is None:
            builder.emit(node)
            continue
        result, reason = sentence
        insert(builder, node, draft.finished((result,)))
        text = f"{node.op.kind} {node.name!r} was rewritten {reason}."
        decisions.append(Decision(Code.DECOMPOSED, text, node.name))
    return (builder.build(), tuple(decisions)) if decisions else (graph, ())


def _rewritten(graph: Graph, node: Node, draft: Draft) -> tuple[str, str] | None:
    """Rewrite a window operator over (N, C, L) or (N, C, D, H, W), or one with groups."""
    if not isinstance(node.op, _WEIGHTED | _POOLING | ops.Resize):
        return None
    rank = len(graph.tensors[node.inputs[0]].shape)
    if rank == 3:
        return _planar(draft)
    return _flattened(draft) if rank == 5 else _ungrouped(draft)


def _flattened(d: Draft) -> tuple[str, str] | None:
    """Write windows over three dimensions as windows over two."""
    form, reason = _VOLUMES.get(type(d.node.op), (None, ""))
    results = form(d) if form else None
    return (results[0], reason) if results else None


def _planar(d: Draft) -> tuple[str, str]:
    """Write (N, C, L) as (N, C, 1, L)."""
    n, c, length = d.shape(d.input(0))
    image = d("image", ops.Reshape((n, c, 1, length)), d.input(0))
    weights = [_planar_weight(d), *d.node.inputs[2:]] if isinstance(d.node.op, _WEIGHTED) else []
    made = d("plane", _in_plane(d.node.op), image, *weights)
    n, c, _, length = d.shape(made)
    return d("line", ops.Reshape((n, c, length)), made), "as a 2-D operator with height 1"


def _planar_weight(d: Draft) -> str:
    weight = d.input(1)
    a, b, size = d.shape(weight)
    value = d.value(weight)
    if value is None:
        return d("kernel", ops.Reshape((a, b, 1, size)), weight)
    return d.constant("kernel", value[:, :, None], d.type(weight).dtype)


def _in_plane(op: Op) -> Op:
    new: Any = op
    changes: dict[str, Ints] = {}
    for name, neutral in (("kernel", 1), ("strides", 1), ("dilations", 1), ("output_padding", 0)):
        if hasattr(op, name):
            changes[name] = (neutral, *getattr(op, name))
    if hasattr(op, "pads"):
        begin, end = new.pads
        changes["pads"] = (0, begin, 0, end)
    if isinstance(op, ops.Resize):
        changes["sizes"] = (1, *op.sizes)
    planar: Op = replace(new, **changes)
    return planar


def _ungrouped(d: Draft) -> tuple[str, str] | None:
    """Write a grouped ConvTranspose with constant operands, one group at a time."""
    op = d.node.op
    weight, bias = d.constant_input(1), d.constant_input(2)
    if not isinstance(op, ops.ConvTranspose) or op.groups == 1:
        return None
    if weight is None or (d.input(2) and bias is None):
        return None
    size, outputs = weight.shape[0] // op.groups, weight.shape[1]
    parts = d.many("groups", ops.Split(1, (size,) * op.groups), d.input(0))
    made = []
    for i, part in enumerate(parts):
        operands = [part, d.constant(f"weight{i}", weight[i * size : (i + 1) * size])]
        if bias is not None:
            operands.append(d.constant(f"bias{i}", bias[i * outputs : (i + 1) * outputs]))
        made.append(d(f"group{i}", replace(op, groups=1), *operands))
    return _joined(d, made), f"as {op.groups} convolutions with one group each"


def _joined(d: Draft, parts: Sequence[str]) -> str:
    return d("joined", ops.Concat(1), *parts)
