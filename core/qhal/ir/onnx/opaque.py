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
from qhal.ir.onnx.call import ImportCall, Unsupported
from qhal.ir.onnx.constant_operands import check_constants
from qhal.ir.onnx.map_spatial import renewed_resize
from qhal.ir.onnx.probe import probed_types
from qhal.ir.onnx.results import corrected
from qhal.ir.onnx.single import infer_types, node_model, node_proto

COMMON_OPSET = 13
"""Opaque nodes of older opsets are converted to this one; every runtime runs it and newer ones."""

_QUANTIZED = (
    *("QuantizeLinear", "DequantizeLinear", "DynamicQuantize", "ConvInteger", "MatMulInteger"),
    *("QLinear", "QGemm", "QAttention", "MatMulNBits"),
)
"""How the names of operators begin that only quantized models have."""


def check_float(call: ImportCall) -> None:
    """Refuse a model that is quantized already.

    Raises:
        ModelInvalidError: naming the node.
    """
    if call.kind.startswith(_QUANTIZED):
        raise ModelInvalidError(
            f"The model is already quantized: node {call.name!r} is a {call.kind}.",
            "Give the float model from before quantization.",
        )


def expansion(call: ImportCall) -> ir.Graph | None:
    """Return the body with which ONNX itself defines an operator; None if it has none.

    The inputs of the graph have the names of the node's operands, its outputs those of the
    node's outputs.
    """
    if not onnx.defs.has(call.kind, call.opset, call.node.domain) or _graphs(call.node):
        return None
    model = node_model(call)
    _state_defaults(call, model.graph.node[0])
    try:
        model = inliner.inline_selected_functions(
            model, [(call.node.domain, call.kind)], inline_schema_functions=True
        )
    except RuntimeError:  # some bodies cannot be made where an optional operand is absent
        return None
    graph = ir.from_proto(model).graph
    return None if any(node.op_type == call.kind for node in graph) else graph


def _state_defaults(call: ImportCall, node: onnx.NodeProto) -> None:
    """Write default attributes into the node; the body of a function does not know them."""
    schema = onnx.defs.get_schema(call.kind, call.opset, call.node.domain)
    stated = {attribute.name for attribute in node.attribute}
    for name, attribute in schema.attributes.items():
        default = attribute.default_value
        if name not in stated and default.type != onnx.AttributeProto.UNDEFINED:
            node.attribute.append(default)


def opaque(call: ImportCall, reason: str) -> tuple[str, ...]:
    """Emit the node as it is, and return its outputs.

    Raises:
        ModelShapeError: the shape of an output depends on data.
        ModelInvalidError: it holds a subgraph that reads tensors from outside.
    """
    _check_captures(call, reason)
    check_constants(call)
    types = _result_types(call, reason)
    proto, opset, inputs = _modern(call)
    op = ops.Opaque(proto.domain, proto.op_type, opset, proto.SerializeToString(), reason)
    builder, outputs = call.scope.builder, []
    for i, found in enumerate(types):
        name = call.output_name(i) if call.node.outputs[i].name else ""
        outputs.append(builder.declare(name, found) if name and found else "")
    while not outputs[-1]:
        outputs.pop()
    builder.emit(Node(_unique(call), op, inputs, tuple(outputs), (call.name,)))
    return tuple(outputs)


def _unique(call: ImportCall) -> str:
    taken, name, count = {node.name for node in call.scope.builder.nodes}, call.name, 0
    while name in taken:
        count += 1
        name = f"{call.name}_{count}"
    return name


def _graphs(node: ir.Node) -> list[ir.Graph]:
    kinds = ir.AttributeType.GRAPH
    return [a.as_graph() for a in node.attributes.values() if a.type is kinds]


def _check_captures(call: ImportCall, reason: str) -> None:
    for graph in _graphs(call.node):
        inside = set(graph.inputs) | set(graph.initializers.values())
        inside.update(value for node in graph.all_nodes() for value in node.outputs)
        used = [v for node in graph.all_nodes() for v in node.inputs if v is not None]
        outer = next((v for v in [*used, *graph.outputs] if v not in inside), None)
        if outer is not None:
            branches = "which branch runs is known only when the model runs"
            why = branches if call.kind == "If" else reason
            raise ModelInvalidError(
                f"{call.kind} {call.name!r} runs a subgraph that reads {outer.name!r} from "
                f"outside, and {why}.",
                "Export the model without control flow (for example by tracing it).",
            )


def _result_types(call: ImportCall, reason: str) -> list[TensorType | None]:
    """Return the types that onnx infers, else those that the node turns out to make."""
    found = corrected(call, infer_types(call))
    if not onnx.defs.has(call.kind, call.node.domain):
        try:
            return probed_types(call)
        except Unsupported as verdict:
            reason = f"{reason}, and {verdict}"
    return [_result_type(call, i, kind, reason) for i, kind in enumerate(found)]


def _result_type(
    call: ImportCall, index: int, found: TensorType | None, reason: str
) -> TensorType | None:
    """Return the type that is known, else the one that the model declares."""
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
        f"The shape of {value.name!r}, an output of node {call.name!r}, is unknown until the model "
        f"runs: {reason}.",
        _WITHOUT_CLASSICAL if call.node.domain == "ai.onnx.ml" else _CUT_BEFORE,
    )


_CUT_BEFORE = (
    "Every tensor needs a static shape; cut the model before this node (onnx.utils.extract_model)."
)
_WITHOUT_CLASSICAL = (
    "Trees, scalers and other operators of ai.onnx.ml are not part of a neural network: "
    "run them outside of qhal, and give it the network between them."
)


def _modern(call: ImportCall) -> tuple[onnx.NodeProto, int, tuple[str, ...]]:
    """Return the node in the form of opset 13 or newer, the opset of this form, and operands."""
    if call.node.domain == "" and call.kind in ("Resize", "Upsample") and call.opset < 11:
        try:
            proto, operands = renewed_resize(call)
        except Unsupported as verdict:
            raise _not_converted(call, str(verdict)) from verdict
        return proto, COMMON_OPSET, operands
    return *_converted(call), tuple(call.optional(i) for i in range(len(call.node.inputs)))


def _converted(call: ImportCall) -> tuple[onnx.NodeProto, int]:
    """Convert a node whose operands stay the same."""
    proto, domain = node_proto(call), call.node.domain
    if not onnx.defs.has(call.kind, call.opset, domain):
        return proto, call.opset
    current = onnx.defs.get_schema(call.kind, call.opset, domain).since_version
    if domain != "" or call.opset >= COMMON_OPSET:
        return proto, max(current, COMMON_OPSET) if domain == "" else current
    common = onnx.defs.get_schema(call.kind, COMMON_OPSET)
    if current == common.since_version and not common.deprecated:
        return proto, COMMON_OPSET
    try:
        nodes = version_converter.convert_version(node_model(call), COMMON_OPSET).graph.node
    except RuntimeError as error:
        raise _not_converted(call, str(error)) from error
    if len(nodes) != 1:
        raise _not_converted(call, f"it would become {len(nodes)} nodes")
    return nodes[0], COMMON_OPSET


def _not_converted(call: ImportCall, reason: str) -> ModelInvalidError:
    return ModelInvalidError(
        f"Node {call.name!r} ({call.kind}) of opset {call.opset} cannot be converted to "
        f"opset {COMMON_OPSET}: {reason}.",
        "Export the model with a newer opset.",
    )
