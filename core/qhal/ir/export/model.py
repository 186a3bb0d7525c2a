"""A float canonical graph as an ONNX model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qhal.errors import InternalError
from qhal.ir.build import needed_nodes
from qhal.ir.export.call import ExportCall
from qhal.ir.export.emitters import emit, needed_opset
from qhal.ir.export.writer import BASE_OPSET, OnnxWriter
from qhal.ir.graph import Graph, NodeView

if TYPE_CHECKING:
    import onnx


def to_onnx(
    graph: Graph, *, outputs: Sequence[str] | None = None, opset: int | None = None
) -> onnx.ModelProto:
    """Write a float graph (spatial operators in NCHW) as an ONNX model.

    Tensors and nodes keep their names. An activation that is fused into a node becomes a node
    of its own; the tensor between the two is ``<output>__pre``.

    Args:
        graph: the graph; conversions are not allowed in it.
        outputs: tensors to return instead of the graph's outputs; what they do not need is
            left out.
        opset: version of ai.onnx to write; the lowest possible one if None.

    Raises:
        InternalError: the graph is quantized or NHWC, or needs a newer opset than asked for.
    """
    wanted = tuple(graph.outputs if outputs is None else dict.fromkeys(outputs))
    nodes = needed_nodes(graph.nodes, wanted)
    lowest = max((needed_opset(node.op) for node in nodes), default=BASE_OPSET)
    if opset is not None and opset < lowest:
        raise InternalError(f"opset {opset} was requested, but the graph needs at least {lowest}.")
    writer = OnnxWriter(opset or lowest, graph.tensors)
    for name, value in graph.constants.items():
        writer.initializer(name, value, graph.tensors[name].dtype)
    for node in nodes:
        emit(node.op, ExportCall(writer, NodeView(graph, node), node.inputs, node.outputs))
    return writer.model(
        graph.name,
        {name: graph.tensors[name] for name in graph.inputs},
        {name: graph.tensors[name] for name in wanted},
    )
