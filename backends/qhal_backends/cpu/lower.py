"""QuantModel -> QDQ ONNX that ONNX Runtime fuses into integer kernels.

A quantized tensor keeps its name for its *integers*. Around a node that computes on them stand
DequantizeLinear and QuantizeLinear, which ONNX Runtime folds into one integer kernel
(``QLinearConv``, ``QGemm``, ``QLinearAdd`` …). Data movement is written on the integers at once:
nothing has to be folded there.

A fused activation saturates. Where the integers of the result end at the same bounds, the
activation needs no node; else it is a Clip on the integers *behind* the QuantizeLinear, because
an activation in front of it would keep ONNX Runtime from fusing the operator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.export import BASE_OPSET, ExportCall, OnnxWriter, emit, needed_opset
from qhal.ir.graph import Node, NodeView
from qhal.ir.ops import Activation, Role
from qhal.quant.arithmetic import quantize
from qhal.quant.model import QuantModel, QuantParams
from qhal_backends.cpu.nbits import matmul_nbits
from qhal_backends.cpu.qdq import MICROSOFT, QdqWriter

if TYPE_CHECKING:
    import onnx

_RANGES: Mapping[Activation, tuple[float, float]] = {
    Activation.NONE: (-np.inf, np.inf),
    Activation.RELU: (0.0, np.inf),
    Activation.RELU6: (0.0, 6.0),
}

_CAST_OPSETS: Mapping[DType, int] = {DType.INT4: 21, DType.INT2: 25}
"""The first opsets in which Cast takes integers of few bits."""

NodeWriter = Callable[[QdqWriter, Node], None]


def to_qdq(model: QuantModel) -> onnx.ModelProto:
    """Write a quantized (or plain float) model as ONNX; same model, same bytes."""
    graph = model.graph
    writer = OnnxWriter(_opset(model), graph.tensors)
    for name, value in graph.constants.items():
        writer.initializer(name, value, graph.tensors[name].dtype)
    qdq = QdqWriter(model, writer)
    for node in graph.nodes:
        _form(model, node)(qdq, node)
    inputs = {name: graph.tensors[name] for name in graph.inputs}
    return writer.model(graph.name, inputs, {name: graph.tensors[name] for name in graph.outputs})


def _opset(model: QuantModel) -> int:
    """Find the lowest opset that has every operator, and Cast from every stored type.

    Weights in groups have an operator of their own, which takes them as bytes.
    """
    graph, params = model.graph, model.params
    stored = [
        kind.dtype
        for name, kind in graph.tensors.items()
        if name in params and not params[name].group_size
    ]
    of_types = (_CAST_OPSETS.get(dtype, BASE_OPSET) for dtype in stored)
    return max((BASE_OPSET, *(needed_opset(node.op) for node in graph.nodes), *of_types))


# --- which form a node takes --------------------------------------------------


def _form(model: QuantModel, node: Node) -> NodeWriter:
    """Choose the function that writes a node."""
    if type(node.op) in _CONVERSIONS:
        return _CONVERSIONS[type(node.op)]
    if isinstance(node.op, ops.ArgMax):
        return _move
    if node.outputs[0] not in model.params:
        return _float_form(model, node)
    if type(node.op) in _MOVES and _shares_params(model, node):
        return _MOVES[type(node.op)]
    return _COMPUTES.get(type(node.op), _compute)


def _float_form(model: QuantModel, node: Node) -> NodeWriter:
    if isinstance(node.op, ops.Silu | ops.Gelu):
        return _smooth_unit
    weight = model.params.get(node.inputs[1]) if len(node.inputs) > 1 else None
    return matmul_nbits if weight is not None and weight.group_size else _plain


def _shares_params(model: QuantModel, node: Node) -> bool:
    """Return True if all activations and results of the node have the same parameters."""
    names = [n for i, n in enumerate(node.inputs) if n and node.op.role(i) is Role.ACTIVATION]
    first = model.params[node.outputs[0]]
    return all(model.params[name].same_as(first) for name in (*names, *node.outputs))


# --- conversions --------------------------------------------------------------------


def _quantize(qdq: QdqWriter, node: Node) -> None:
    qdq.quantize(node.inputs[0], node.outputs[0], node.name)


def _dequantize(qdq: QdqWriter, node: Node) -> None:
    """Write a node of its own: its result has a name to keep."""
    qdq.dequantize(node.inputs[0], node.outputs[0], node.name)


def _requantize(qdq: QdqWriter, node: Node) -> None:
    """Convert integers to integers through float: ONNX has no operator for it."""
    qdq.quantize(qdq.real(node.inputs[0]), node.outputs[0], node.name)


# --- nodes in float -----------------------------------------------------------


def _plain(qdq: QdqWriter, node: Node) -> None:
    """Write a float node; its constants may be stored in fewer bits."""
    inputs = tuple(qdq.widened(name) for name in node.inputs)
    _emit(qdq, node, node.op, inputs, node.outputs)


def _smooth_unit(qdq: QdqWriter, node: Node) -> None:
    """Write SiLU or GELU as the operator into which ONNX Runtime fuses their usual float forms.

    Behind a DequantizeLinear it would not fuse them: it first gives each reader of x a
    DequantizeLinear of its own, and the pattern is lost.
    """
    kind, attributes = "QuickGelu", {"alpha": 1.0}
    if isinstance(node.op, ops.Gelu):
        kind, attributes = "FastGelu" if node.op.approximate else "Gelu", {}
    qdq.onnx.node(kind, node.inputs, node.outputs, name=node.name, domain=MICROSOFT, **attributes)


# --- nodes on integers --------------------------------------------------------


def _move(qdq: QdqWriter, node: Node) -> None:
    """Write data movement and comparisons on the integers themselves."""
    _emit(qdq, node, node.op, node.inputs, node.outputs)


def _depth_to_space(qdq: QdqWriter, node: Node) -> None:
    """Write Reshape, Transpose, Reshape: ONNX Runtime 1.20 has no DepthToSpace on integers."""
    op, (batch, channels, height, width) = node.op, qdq.model.graph.tensors[node.inputs[0]].shape
    assert isinstance(op, ops.DepthToSpace)
    b, depth = op.block, channels // op.block**2
    column_first = op.mode == "CRD"
    split = (batch, depth, b, b) if column_first else (batch, b, b, depth)
    perm = (0, 1, 4, 2, 5, 3) if column_first else (0, 3, 4, 1, 5, 2)
    _rearrange(qdq, node, (*split, height, width), perm)


def _space_to_depth(qdq: QdqWriter, node: Node) -> None:
    """Write Reshape, Transpose, Reshape: ONNX Runtime 1.20 has no SpaceToDepth on integers."""
    op, (batch, channels, height, width) = node.op, qdq.model.graph.tensors[node.inputs[0]].shape
    assert isinstance(op, ops.SpaceToDepth)
    b = op.block
    split = (batch, channels, height // b, b, width // b, b)
    _rearrange(qdq, node, split, (0, 3, 5, 1, 2, 4))


def _rearrange(qdq: QdqWriter, node: Node, split: tuple[int, ...], perm: tuple[int, ...]) -> None:
    onnx, x, y = qdq.onnx, node.inputs[0], node.outputs[0]
    parts, permuted = onnx.fresh(f"{y}__parts"), onnx.fresh(f"{y}__permuted")
    onnx.node("Reshape", (x, onnx.ints("shape", split)), (parts,))
    onnx.node("Transpose", (parts,), (permuted,), perm=perm, name=node.name)
    shape = onnx.ints("shape", qdq.model.graph.tensors[y].shape)
    onnx.node("Reshape", (permuted, shape), (y,))


def _pad(qdq: QdqWriter, node: Node) -> None:
    """Pad with the integer that stands for the value."""
    op = node.op
    assert isinstance(op, ops.Pad)
    value = quantize(np.asarray(op.value, np.float32), qdq.params(node.outputs[0]))
    _emit(qdq, node, replace(op, value=int(value)), node.inputs, node.outputs)


def _clip(qdq: QdqWriter, node: Node) -> None:
    """Write an activation between tensors of the same parameters as a Clip on the integers."""
    match node.op:
        case ops.Clip(low, high):
            pass
        case _:
            is_relu = isinstance(node.op, ops.Relu)
            low, high = _RANGES[Activation.RELU if is_relu else Activation.RELU6]
    qdq.clip(node.inputs[0], node.outputs[0], low, high, node.name)


# --- nodes that compute on integers -------------------------------------------


def _compute(qdq: QdqWriter, node: Node) -> None:
    """Dequantize the operands, compute, quantize the results: what runtimes fuse."""
    op, activation = _without_activation(node.op)
    inputs = tuple(qdq.real(name) for name in node.inputs)
    results = tuple(qdq.float_name(name) for name in node.outputs)
    _emit(qdq, node, op, inputs, results, DType.FLOAT32)
    for real, name in zip(results, node.outputs, strict=True):
        _finish(qdq, real, name, activation)


def _finish(qdq: QdqWriter, real: str, name: str, activation: Activation) -> None:
    """Quantize a result and saturate it as its activation does."""
    low, high = _RANGES[activation]
    if qdq.saturates(name, low, high):
        qdq.quantize(real, name, f"{name}__quantize")
        return
    before = qdq.onnx.fresh(f"{name}__pre")
    qdq.quantize(real, before, f"{name}__quantize", qdq.params(name))
    qdq.clip(before, name, low, high, f"{name}__{activation.value}")


def _fully_connected(qdq: QdqWriter, node: Node) -> None:
    """Write operands of any rank as matrices: only Gemm has the bias in its integer kernel."""
    types = qdq.model.graph.tensors
    if len(types[node.inputs[0]].shape) == 2:
        _compute(qdq, node)
        return
    (x, *rest), y, onnx = node.inputs, node.outputs[0], qdq.onnx
    depth = types[node.inputs[1]].shape[1]
    matrix, flat = onnx.fresh(f"{x}__matrix"), onnx.fresh(f"{y}__matrix")
    rows = onnx.ints("shape", (types[x].elements // depth, depth))
    onnx.node("Reshape", (x, rows), (matrix,))
    operands = (qdq.dequantized(matrix, qdq.params(x)), *map(qdq.real, rest))
    real = qdq.float_name(y)
    onnx.node("Gemm", operands, (real,), name=node.name, transB=1)
    qdq.quantize(real, flat, f"{y}__quantize", qdq.params(y))
    _reshape_back(qdq, flat, node)


def _reshape_back(qdq: QdqWriter, flat: str, node: Node) -> None:
    """Restore the shape of the integers, then apply the activation fused into the node."""
    y, (_, activation) = node.outputs[0], _without_activation(node.op)
    low, high = _RANGES[activation]
    saturated = qdq.saturates(y, low, high)
    before = y if saturated else qdq.onnx.fresh(f"{y}__pre")
    shape = qdq.onnx.ints("shape", qdq.model.graph.tensors[y].shape)
    qdq.onnx.node("Reshape", (flat, shape), (before,))
    if not saturated:
        qdq.clip(before, y, low, high, f"{y}__{activation.value}")


def _reduce(qdq: QdqWriter, node: Node) -> None:
    """Write a reduction; a mean keeps its dimensions first: only then is its kernel integer."""
    op = node.op
    assert isinstance(op, ops.Reduce)
    if op.function in ("Max", "Min"):
        _move(qdq, node)
        return
    if op.keepdims:
        _compute(qdq, node)
        return
    y = node.outputs[0]
    real, kept = qdq.float_name(y), qdq.onnx.fresh(f"{y}__kept")
    kept_op = replace(op, keepdims=True)
    _emit(qdq, node, kept_op, (qdq.real(node.inputs[0]),), (real,), DType.FLOAT32)
    qdq.quantize(real, kept, f"{y}__quantize", qdq.params(y))
    _reshape_back(qdq, kept, node)


def _hard_sigmoid(qdq: QdqWriter, node: Node) -> None:
    """Write ``alpha * x + beta``, saturated by the range of its result, as an integer Add.

    Reading the integers of x with the scale ``alpha * scale`` is the multiplication.
    """
    op, x, y = node.op, node.inputs[0], node.outputs[0]
    assert isinstance(op, ops.HardSigmoid)
    if not qdq.saturates(y, 0.0, 1.0):
        _compute(qdq, node)
        return
    dtype, steps = qdq.params(x).dtype, 255
    beta = QuantParams.per_tensor(dtype, op.beta / steps, dtype.qmin)
    stored = qdq.onnx.constant(f"{y}__beta", np.asarray(dtype.qmin + steps, dtype.numpy))
    operands = (_read_scaled(qdq, x, op.alpha), qdq.dequantized(stored, beta))
    real = qdq.float_name(y)
    qdq.onnx.node("Add", operands, (real,), name=node.name)
    qdq.quantize(real, y, f"{y}__quantize")


def _tanh(qdq: QdqWriter, node: Node) -> None:
    """Write ``tanh(x) = 2 sigmoid(2x) - 1``: Sigmoid's integer kernel with other parameters.

    The two share their integers where ``1 / scale`` is the zero point's distance from the least.
    """
    x, y = node.inputs[0], node.outputs[0]
    params = qdq.params(y)
    if float(params.scale) * (int(params.zero_point) - params.dtype.qmin) != 1:
        _compute(qdq, node)
        return
    real = qdq.float_name(y)
    qdq.onnx.node("Sigmoid", (_read_scaled(qdq, x, 2.0),), (real,), name=node.name)
    halved = QuantParams.per_tensor(params.dtype, float(params.scale) / 2, params.dtype.qmin)
    qdq.quantize(real, y, f"{y}__quantize", halved)


def _read_scaled(qdq: QdqWriter, name: str, factor: float) -> str:
    params = qdq.params(name)
    scale = np.asarray(params.scale * np.float32(factor), np.float32)
    return qdq.dequantized(name, replace(params, scale=scale))


# --- helpers ------------------------------------------------------------------


def _view(qdq: QdqWriter, node: Node) -> NodeView:
    return NodeView(qdq.model.graph, node)


def _emit(
    qdq: QdqWriter,
    node: Node,
    op: ops.Op,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    dtype: DType | None = None,
) -> None:
    emit(op, ExportCall(qdq.onnx, _view(qdq, node), inputs, outputs, dtype))


def _without_activation(op: ops.Op) -> tuple[ops.Op, Activation]:
    plain = op.with_activation(Activation.NONE) if op.carries_activation() else op
    return plain, op.fused


_CONVERSIONS: Mapping[type[ops.Op], NodeWriter] = {
    ops.Quantize: _quantize,
    ops.Dequantize: _dequantize,
    ops.Requantize: _requantize,
}

_MOVES: Mapping[type[ops.Op], NodeWriter] = {
    **dict.fromkeys((ops.Reshape, ops.Transpose, ops.Concat, ops.Split, ops.Slice), _move),
    **dict.fromkeys((ops.Gather, ops.Expand, ops.Tile, ops.MaxPool, ops.Resize), _move),
    **dict.fromkeys((ops.Relu, ops.Relu6, ops.Clip), _clip),
    ops.Pad: _pad,
    ops.DepthToSpace: _depth_to_space,
    ops.SpaceToDepth: _space_to_depth,
}
"""Operators that ONNX Runtime runs on integers as they are, where parameters are shared."""

_COMPUTES: Mapping[type[ops.Op], NodeWriter] = {
    ops.FullyConnected: _fully_connected,
    ops.Reduce: _reduce,
    ops.HardSigmoid: _hard_sigmoid,
    ops.Tanh: _tanh,
}
"""Operators whose integer form is not simply the float one between other types."""
