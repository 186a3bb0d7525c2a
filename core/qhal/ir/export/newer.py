"""Nodes without a canonical form in a newer opset than theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qhal.ir import ops
from qhal.ir.export.writer import value_info
from qhal.ir.graph import NodeView

if TYPE_CHECKING:
    import onnx


def in_opset(proto: onnx.NodeProto, view: NodeView, opset: int) -> onnx.NodeProto:
    """Return the node of an opaque operator in the form that it has in ``opset``.

    Stored types of few bits need a newer opset than the rest of a model. In it an attribute may
    have another name or other values, such as the mode of GridSample.
    """
    from onnx import defs, version_converter

    op = view.op
    assert isinstance(op, ops.Opaque)
    if op.domain or not defs.has(op.op_type, op.opset):
        return proto
    versions = {defs.get_schema(op.op_type, at).since_version for at in (op.opset, opset)}
    if len(versions) == 1:
        return proto
    try:
        nodes = version_converter.convert_version(_alone(proto, view, op.opset), opset).graph.node
    except RuntimeError:  # the converter does not know it: mostly it only took more types
        return proto
    return nodes[0] if len(nodes) == 1 else proto


def _alone(proto: onnx.NodeProto, view: NodeView, opset: int) -> onnx.ModelProto:
    """Make a model of one node, which reads inputs only."""
    from onnx import helper

    types, node = view.graph.tensors, view.node
    read = zip(proto.input, node.inputs, strict=True)
    made = zip(proto.output, node.outputs, strict=True)
    graph = helper.make_graph(
        [proto],
        "node",
        list({ours: value_info(ours, types[name]) for ours, name in read if ours}.values()),
        [value_info(ours, types[name]) for ours, name in made if ours],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
