"""One node on its own: as a NodeProto, as a model, and what onnx knows about it."""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx import helper

from qhal.errors import ModelInvalidError
from qhal.ir.dtypes import DType
from qhal.ir.graph import TensorType
from qhal.ir.onnx.alone import model_of
from qhal.ir.onnx.bind import element_type
from qhal.ir.onnx.call import ImportCall

_DATA_BYTES = 65536
"""Shape inference sees the values of constant operands up to this size."""


def node_proto(call: ImportCall) -> onnx.NodeProto:
    """Return the node with all its attributes embedded.

    Raises:
        ValueError: an attribute of a node in a subgraph cannot be written.
    """
    for attribute in list(call.node.attributes.values()):
        if attribute.type is ir.AttributeType.TENSOR:
            tensor = attribute.as_tensor()
            if isinstance(tensor, ir.ExternalTensor):
                held = ir.Tensor(call.scope.weights.read(tensor), name=tensor.name)
                call.node.attributes[attribute.name] = ir.AttrTensor(attribute.name, held)
        elif attribute.type is ir.AttributeType.GRAPH:
            _embed_initializers(call, attribute.as_graph())
    try:
        return ir.to_proto(call.node)
    except ir.serde.SerdeError as error:
        raise ValueError("an attribute of a subgraph has no type that ONNX knows") from error


def _embed_initializers(call: ImportCall, graph: ir.Graph) -> None:
    for value in graph.initializers.values():
        if isinstance(value.const_value, ir.ExternalTensor):
            array = call.scope.weights.read(value.const_value)
            value.const_value = ir.Tensor(array, name=value.name)


def node_model(call: ImportCall) -> onnx.ModelProto:
    """Build a model of this one node; its operands are the inputs."""
    node = node_proto(call)
    types = {name: call.type(i) for name, i in _operands(call, node).items()}
    return model_of(node, types, _imports(call))


def infer_types(call: ImportCall) -> list[TensorType | None]:
    """Infer the static types of the node's outputs; None where onnx cannot.

    Raises:
        ModelInvalidError: an output is no tensor of numbers.
    """
    try:
        schema = onnx.defs.get_schema(call.kind, call.opset, call.node.domain)
    except onnx.defs.SchemaError:
        return [None] * len(call.node.outputs)
    node = node_proto(call)
    operands = _operands(call, node)
    types = {n: _type_proto(call.type(i)) for n, i in operands.items()}
    data = {n: t for n, i in operands.items() if (t := _data(call, n, i)) is not None}
    try:
        found = onnx.shape_inference.infer_node_outputs(
            schema, node, types, data, opset_imports=_imports(call)
        )
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        raise ValueError(str(error).strip().splitlines()[-1]) from error
    return [_static(found.get(name), name) if name else None for name in node.output]


def _imports(call: ImportCall) -> list[onnx.OperatorSetIdProto]:
    return [helper.make_opsetid(d, v) for d, v in call.scope.opsets.items()]


def _operands(call: ImportCall, node: onnx.NodeProto) -> dict[str, int]:
    """Map each operand name to an index, each name once."""
    return {name: i for i, name in enumerate(node.input) if name}


def _onnx_type(found: TensorType) -> int:
    return helper.np_dtype_to_tensor_dtype(found.dtype.numpy)


def _type_proto(found: TensorType) -> onnx.TypeProto:
    return helper.make_tensor_type_proto(_onnx_type(found), found.shape)


def _data(call: ImportCall, name: str, index: int) -> onnx.TensorProto | None:
    value = call.constant(index)
    if value is None or value.nbytes > _DATA_BYTES:
        return None
    return onnx.numpy_helper.from_array(value, name)


def _static(found: onnx.TypeProto | None, name: str) -> TensorType | None:
    """Return the type, if all of it is known."""
    if found is None:
        return None
    if not found.HasField("tensor_type"):
        raise ModelInvalidError(
            f"{name!r} is a sequence, a map or an optional value.",
            "qhal takes graphs of tensors; remove that part of the model.",
        )
    inner = found.tensor_type
    if not inner.HasField("shape") or not all(d.HasField("dim_value") for d in inner.shape.dim):
        return None
    dtype = element_type(ir.DataType(inner.elem_type), name)
    shape = tuple(d.dim_value for d in inner.shape.dim)
    return TensorType(shape, DType.FLOAT32 if dtype.is_float else dtype)
