"""What a node costs: multiply-accumulates, operations and bytes, in both layouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from qhal.ir import ops
from qhal.ir.graph import NodeView, TensorType
from qhal.ir.ops import Layout, Op

PER_ELEMENT: Mapping[str, int] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "Maximum", "Minimum", "Compare", "Mod"), 1),
    **dict.fromkeys(("Relu", "Sigmoid", "Tanh", "Where", "Quantize"), 1),
    **dict.fromkeys(("Abs", "Neg", "Exp", "Log", "Sqrt", "Rsqrt", "Reciprocal", "Erf"), 1),
    **dict.fromkeys(("Dequantize", "Logical"), 1),
    **dict.fromkeys(("Sin", "Cos", "Floor", "Ceil", "Round", "Sign", "Not", "Requantize"), 1),
    **dict.fromkeys(("Relu6", "Clip", "LeakyRelu", "PRelu", "Silu", "Softplus"), 2),
    "Elu": 3,
    "HardSigmoid": 4,
    "HardSwish": 5,
    "Gelu": 5,
    "Softmax": 5,  # maximum, difference, exponential, sum, quotient
    "LogSoftmax": 6,
    "LayerNorm": 8,
    "InstanceNorm": 8,
    **dict.fromkeys(("Reshape", "Transpose", "Concat", "Split", "Slice", "Pad", "Gather"), 0),
    **dict.fromkeys(("Expand", "Tile", "Cast", "DepthToSpace", "SpaceToDepth"), 0),
}
"""Name of an operator -> elementary operations per element of the result.

Functions count as one, so that the figure does not depend on how a target computes them.
"""


def macs(view: NodeView) -> int:
    """Count the multiply-accumulates of one execution; 0 without products to sum."""
    count = MACS.get(type(view.op))
    return count(view) if count else 0


def operations(view: NodeView) -> int:
    """Count arithmetic operations: two per multiply-accumulate, else those per element.

    Data movement counts nothing; its price is the bytes.
    """
    products = macs(view)
    if products:
        return 2 * products
    count = OPERATIONS.get(type(view.op))
    return count(view) if count else view.output().elements * PER_ELEMENT.get(view.op.kind, 0)


def size_bytes(type: TensorType) -> int:
    """Return the bytes of a densely stored tensor."""
    return (type.elements * type.dtype.bits + 7) // 8


def _conv(view: NodeView) -> int:
    """Count one filter per result: ``weight elements / output channels`` products."""
    weight = view.input(1)
    return view.output().elements * (weight.elements // weight.shape[0])


def _depthwise(view: NodeView) -> int:
    outputs = _channels(view.output(), view.op)
    return view.output().elements * (view.input(1).elements // outputs)


def _conv_transpose(view: NodeView) -> int:
    """Count the filter of its channel for every operand element."""
    channels = _channels(view.input(), view.op)
    return view.input().elements * (view.input(1).elements // channels)


def _channels(type: TensorType, op: Op) -> int:
    layout: Layout = getattr(op, "layout", Layout.NCHW)
    return type.shape[layout.channel_axis(len(type.shape))]


def _fully_connected(view: NodeView) -> int:
    return view.output().elements * view.input(1).shape[1]


def _matmul(view: NodeView) -> int:
    return view.output().elements * view.input().shape[-1]


def _recurrent(view: NodeView) -> int:
    """Count the two weights once per time step and sample."""
    times, batch, _ = view.input().shape
    return times * batch * (view.input(1).elements + view.input(2).elements)


MACS: Mapping[type[Op], Callable[[NodeView], int]] = {
    ops.Conv: _conv,
    ops.DepthwiseConv: _depthwise,
    ops.ConvTranspose: _conv_transpose,
    ops.FullyConnected: _fully_connected,
    ops.MatMul: _matmul,
    ops.Lstm: _recurrent,
    ops.Gru: _recurrent,
    ops.Rnn: _recurrent,
}
"""Operator -> the multiply-accumulates of a node."""


def _reduction(view: NodeView) -> int:
    return view.input().elements


def _pool(view: NodeView) -> int:
    assert isinstance(view.op, ops.MaxPool | ops.AveragePool)
    return view.output().elements * prod(view.op.kernel)


def _resize(view: NodeView) -> int:
    """Count linear resampling: each result is a weighted sum of two neighbors per dimension."""
    assert isinstance(view.op, ops.Resize)
    neighbors = 0 if view.op.mode == "nearest" else 1 << len(view.op.sizes)
    return view.output().elements * 2 * neighbors


OPERATIONS: Mapping[type[Op], Callable[[NodeView], int]] = {
    ops.Reduce: _reduction,
    ops.ArgMax: _reduction,
    ops.TopK: _reduction,
    ops.MaxPool: _pool,
    ops.AveragePool: _pool,
    ops.Resize: _resize,
}
"""Operator -> the operations of a node that do not go by the elements of its result."""
