"""Operators without a canonical form: ONNX Runtime computes them, in float."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qhal.ir import ops
from qhal.quant.oracle.context import Kernel, KernelContext, Operands
from qhal.quant.oracle.values import Array
from qhal.system.trail import Kind, doing

if TYPE_CHECKING:
    import onnx

_OPSET = 17
"""Of ONNX's own operators in the body of an operator of another domain."""


def build_opaque(context: KernelContext) -> Kernel:
    """Build a model of this one node, in an ONNX Runtime session without optimizations."""
    from qhal.ir.onnx.alone import session_of

    model, node = _one_node_model(context), context.node
    words = f"onnxruntime computed node {node.name!r} ({context.op.kind}) for the oracle"
    with doing(Kind.MODEL, words):
        session = session_of(model, optimized=False)

    def run(operands: Operands) -> tuple[Array, ...]:
        named = zip(context.node.inputs, operands, strict=True)
        feeds = {name: np.asarray(x, order="C") for name, x in named if x is not None}
        with doing(Kind.MODEL, words):
            return tuple(session.run(list(context.node.outputs), feeds))

    return run


def _one_node_model(context: KernelContext) -> onnx.ModelProto:
    import onnx
    from onnx import helper

    from qhal.ir.onnx.alone import model_of

    op = context.op
    assert isinstance(op, ops.Opaque)
    node = onnx.NodeProto.FromString(op.proto)
    node.input[:], node.output[:] = context.node.inputs, context.node.outputs
    imports = [helper.make_opsetid(op.domain, op.opset)]
    if op.domain:
        imports.append(helper.make_opsetid("", _OPSET))
    return model_of(node, context.graph.tensors, imports)
