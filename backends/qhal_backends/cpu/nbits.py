"""Weights in groups: the operator ``com.microsoft::MatMulNBits``.

Standard DequantizeLinear and MatMul become the same operator, but not where an activation
follows: ONNX Runtime then fuses MatMul, Add and activation first and dequantizes the whole weight
at every inference. Hence the operator itself.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qhal.ir import ops
from qhal.ir.export import ExportCall
from qhal.ir.graph import Node, NodeView
from qhal.ir.ops import Activation
from qhal.quant.model import QuantParams
from qhal_backends.cpu.qdq import MICROSOFT, QdqWriter

_INTEGER_ACCURACY = 4
"""``accuracy_level``: activations are quantized to int8 per group as they come, and multiplied as
integers. On an AVX512-VNNI machine 3 times as fast as float32 (1 x 1280 by 1280 x 1001)."""


def matmul_nbits(qdq: QdqWriter, node: Node) -> None:
    """Write a fully-connected node with float activations and a weight in groups."""
    op, (x, weight, *bias), y = node.op, node.inputs, node.outputs[0]
    assert isinstance(op, ops.FullyConnected)
    params, onnx = qdq.params(weight), qdq.onnx
    plain = op.activation is Activation.NONE
    before = y if plain else onnx.fresh(f"{y}__pre")
    outputs, depth = qdq.model.graph.tensors[weight].shape
    packed = onnx.fresh(f"{weight}__packed")
    onnx.initializer(packed, _packed(qdq.model.graph.constants[weight], params))
    scale = onnx.constant(f"{weight}__scale", params.scale.ravel())
    onnx.node(
        "MatMulNBits",
        (x, packed, scale, "", "", *map(qdq.widened, bias)),
        (before,),
        name=node.name,
        domain=MICROSOFT,
        K=depth,
        N=outputs,
        bits=params.dtype.bits,
        block_size=params.group_size,
        accuracy_level=_INTEGER_ACCURACY,
    )
    if not plain:
        call = ExportCall(onnx, NodeView(qdq.model.graph, node), (x,), node.outputs)
        call.activate(op.activation, before)


def _packed(weight: npt.NDArray[np.generic], params: QuantParams) -> npt.NDArray[np.uint8]:
    """Pack weights (N, K) as bytes (N, groups, bytes of a group), zero in mid-range.

    Two 4-bit weights share a byte, the first one in its low half; a short last group is filled
    with zeros.
    """
    bits, size = params.dtype.bits, params.group_size
    missing = -weight.shape[1] % size
    rows = np.pad(weight.astype(np.int16), ((0, 0), (0, missing)))
    groups = (rows + (1 << (bits - 1))).astype(np.uint8).reshape(weight.shape[0], -1, size)
    if bits == 8:
        return groups
    return np.asarray(groups[..., 0::2] | groups[..., 1::2] << 4, np.uint8)
