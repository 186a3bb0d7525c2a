"""What has no canonical form: operators that are written as others, and opaque nodes."""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx import inliner, version_converter

from qhal.errors import ModelInvalidError, ModelShapeError
from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import Node, TensorType
from qhal.ir.onnx.bind import element_type
from qhal.ir.onnx.call import Call
from qhal.ir.onnx.single import infer_types, node_model, node_proto

COMMON_OPSET = 13
"""Opaque nodes of older opsets are brought to this one; everything runs from here up."""

_QUANTIZED = frozenset(
    ["QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"]
)


def check_float(call: Call) -> None:
    """Refuse a model that is quantized already.

    Raises:
        ModelInvalidError: naming the node.
    """
    if call.kind in _QUANTIZED or call.kind.startswith(("QLinear", "QGemm", "QAttention")):
        raise ModelInvalidError(
            f"The model is quantized already: node {call.name!r} is a {call.kind}.",
            "Give the float model that it was made from.",
        )


def expansion(call: Call) -> ir.Graph | None:
    """The body with which ONNX itself defines an operator; None if it has none.

    The inputs of the graph have the names of the node's operands, its outputs those of the
    node's outputs.
    """
    if not onnx.defs.has(call.kind, call.opset, call.node.domain) or _graphs(call.node):
        return None
    schema = onnx.defs.get_schema(call.kind, call.opset, call.node.domain)
    if not (schema.has_function or schema.has_context_dependent_function):
        return None
    model = inliner.inline_selected_functions(
        node_model(call), [(call.node.domain, call.kind)], inline_schema_functions=True
    )
    graph = ir.from_proto(model).graph
    return None if any(node.op_type == call.kind for node in graph) else graph


def opaque(call: Call, reason: str) -> tuple[str, ...]:
    """Emit the node as it is, and return its outputs.

    Raises:
        ModelShapeError: the shape of an output depends on data.
        ModelInvalidError: it holds a subgraph that reads tensors from outside.
    """
    _check_captures(call)
    types = [_result_type(call, i, found) for i, found in enumerate(infer_types(call))]
    proto, opset = _modern(call)
    op = ops.Opaque(call.node.domain, call.kind, opset, proto.SerializeToString(), reason)
    inputs = tuple(call.optional(i) for i in range(len(call.node.inputs)))
    builder, outputs = call.scope.builder, []
    for i, found in enumerate(types):
        name = call.output_name(i) if call.node.outputs[i].name else ""
        outputs.append(builder.declare(name, found) if name and found else "")
    builder.emit(Node(_unique(call), op, inputs, tuple(outputs), (call.name,)))
    return tuple(outputs)


def _unique(call: Call) -> str:
    taken = {node.name for node in call.scope.builder.nodes}
    return call.name if call.name not in taken else call.scope.fresh(call.name)


def _graphs(node: ir.Node) -> list[ir.Graph]:
    kinds = ir.AttributeType.GRAPH
    return [a.as_graph() for a in node.attributes.values() if a.type is kinds]


def _check_captures(call: Call) -> None:
    for graph in _graphs(call.node):
        inside = set(graph.inputs) | set(graph.initializers.values())
        inside.update(value for node in graph.all_nodes() for value in node.outputs)
        used = [v for node in graph.all_nodes() for v in node.inputs if v is not None]
        outer = next((v for v in [*used, *graph.outputs] if v not in inside), None)
        if outer is not None:
            raise ModelInvalidError(
                f"{call.kind} {call.name!r} runs a subgraph that reads {outer.name!r} from "
                "outside, and which part of it runs depends on the inputs.",
                "Export the model without control flow (for example by tracing it).",
            )


def _result_type(call: Call, index: int, found: TensorType | None) -> TensorType | None:
    """The type that onnx infers, else the one that the model declares."""
    value = call.node.outputs[index]
    if not value.name or found is not None:
        return found
    if value.shape is not None and value.dtype is not None:
        sizes = [
            d if isinstance(d, int) else call.scope.sizes.get(str(d.value)) for d in value.shape
        ]
        if all(size is not None for size in sizes):
            dtype = element_type(value.dtype, str(value.name))
            shape = tuple(size for size in sizes if size is not None)
            return TensorType(shape, DType.FLOAT32 if dtype.is_float else dtype)
    raise ModelShapeError(
        f"The shape of {value.name!r}, made by {call.kind} {call.name!r}, is not known before "
        "the model runs.",
        "Every tensor needs a static shape; cut the model before this node "
        "(onnx.utils.extract_model).",
    )


def _modern(call: Call) -> tuple[onnx.NodeProto, int]:
    """The node in the form of opset 13 or newer, with that opset."""
    proto, opset = node_proto(call), call.opset
    if call.node.domain != "" or opset >= COMMON_OPSET:
        return proto, opset
    old, new = (onnx.defs.get_schema(call.kind, v) for v in (opset, COMMON_OPSET))
    if old.since_version == new.since_version:
        return proto, COMMON_OPSET
    try:
        converted = version_converter.convert_version(node_model(call), COMMON_OPSET)
    except RuntimeError as error:
        raise ModelInvalidError(
            f"Node {call.name!r} ({call.kind}) of opset {opset} cannot be brought to "
            f"opset {COMMON_OPSET}: {error}.",
            "Export the model with a newer opset.",
        ) from error
    nodes = [node for node in converted.graph.node if node.op_type == call.kind]
    if len(converted.graph.node) != 1 or not nodes:
        return proto, COMMON_OPSET
    return nodes[0], COMMON_OPSET
