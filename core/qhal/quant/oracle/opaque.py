"""Operators without a canonical form: ONNX Runtime computes them, in float."""

from __future__ import annotations

import numpy as np

from qhal.ir import ops
from qhal.ir.graph import TensorType
from qhal.quant.oracle.context import Kernel, KernelContext, Operands
from qhal.quant.oracle.values import Array
from qhal.system.trail import Kind, doing


def build_opaque(context: KernelContext) -> Kernel:
    """Build a model of this one node, in an ONNX Runtime session without optimizations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    model, node = _one_node_model(context), context.node
    words = f"onnxruntime computed node {node.name!r} ({context.op.kind}) for the oracle"
    with doing(Kind.MODEL, words):
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(operands: Operands) -> tuple[Array, ...]:
        named = zip(context.node.inputs, operands, strict=True)
        feeds = {name: np.asarray(x, order="C") for name, x in named if x is not None}
        with doing(Kind.MODEL, words):
            return tuple(session.run(list(context.node.outputs), feeds))

    return run


def _one_node_model(context: KernelContext) -> bytes:
    import onnx
    from onnx import helper

    op = context.op
    assert isinstance(op, ops.Opaque)
    node = onnx.NodeProto.FromString(op.proto)
    del node.input[:], node.output[:]
    node.input.extend(context.node.inputs)
    node.output.extend(context.node.outputs)

    def info(name: str, type_: TensorType) -> onnx.ValueInfoProto:
        kind = helper.np_dtype_to_tensor_dtype(type_.dtype.numpy)
        return helper.make_tensor_value_info(name, kind, list(type_.shape))

    types = context.graph.tensors
    inputs = [info(name, types[name]) for name in dict.fromkeys(filter(None, context.node.inputs))]
    outputs = [info(name, types[name]) for name in context.node.outputs if name]
    graph = helper.make_graph([node], "opaque", inputs, outputs)
    imports = [helper.make_opsetid(op.domain, op.opset)]
    if op.domain:
        imports.append(helper.make_opsetid("", 17))
    model: bytes = helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()
    return model
