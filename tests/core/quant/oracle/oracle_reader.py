"""Reads the integer .tflite files of other converters as quantized models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import Graph, Node, TensorType
from qhal.ir.ops import Activation, Layout, Op
from qhal.quant.model import QuantModel, QuantParams

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

DTYPES = {
    schema.TensorType.FLOAT32: DType.FLOAT32,
    schema.TensorType.INT8: DType.INT8,
    schema.TensorType.UINT8: DType.UINT8,
    schema.TensorType.INT16: DType.INT16,
    schema.TensorType.INT32: DType.INT32,
    schema.TensorType.INT64: DType.INT64,
}
ACTIVATIONS = {0: Activation.NONE, 1: Activation.RELU, 3: Activation.RELU6}
NAMES = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}


def read(content: bytes) -> QuantModel:
    """The model of a file with one subgraph."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    return _Reader(model).read()


def _pads(same: bool, size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    if not same:
        return 0, 0
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


class _Reader:
    def __init__(self, model: Any) -> None:
        self._model = model
        self._graph = model.subgraphs[0]
        self._tensors = self._graph.tensors

    def read(self) -> QuantModel:
        graph = self._graph
        nodes = tuple(self._node(i, operator) for i, operator in enumerate(graph.operators))
        used = {name for node in nodes for name in (*node.inputs, *node.outputs)}
        every = range(len(self._tensors))
        types = {self._name(i): self._type(i) for i in every if self._name(i) in used}
        constants = {
            self._name(i): data
            for i in every
            if self._name(i) in used and (data := self._data(i)) is not None
        }
        params = {
            self._name(i): found
            for i in every
            if self._name(i) in used and (found := self._params(i)) is not None
        }
        inputs = tuple(self._name(i) for i in graph.inputs)
        outputs = tuple(self._name(i) for i in graph.outputs)
        return QuantModel(Graph("file", inputs, outputs, nodes, types, constants), params)

    def _name(self, index: int) -> str:
        return f"{index}"

    def _shape(self, index: int) -> tuple[int, ...]:
        shape = self._tensors[index].shape
        return () if shape is None else tuple(int(s) for s in shape)

    def _type(self, index: int) -> TensorType:
        return TensorType(self._shape(index), DTYPES[self._tensors[index].type])

    def _data(self, index: int) -> np.ndarray | None:
        data = self._model.buffers[self._tensors[index].buffer].data
        if data is None or not len(data):
            return None
        dtype = DTYPES[self._tensors[index].type].numpy
        return np.frombuffer(bytes(data), dtype).reshape(self._shape(index))

    def _params(self, index: int) -> QuantParams | None:
        found = self._tensors[index].quantization
        if found is None or found.scale is None or not len(found.scale):
            return None
        dtype = DTYPES[self._tensors[index].type]
        scale = np.array(found.scale, np.float32)
        zero_point = np.array(found.zeroPoint, np.int64)
        if scale.size == 1:
            return QuantParams.per_tensor(dtype, float(scale[0]), int(zero_point[0]))
        zero_point = np.broadcast_to(zero_point, scale.shape)
        return QuantParams(dtype, scale, zero_point, found.quantizedDimension)

    def _node(self, index: int, operator: Any) -> Node:
        code = self._model.operatorCodes[operator.opcodeIndex]
        kind = NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]
        op, operands = _BUILDERS[kind](self, operator)
        outputs = tuple(self._name(i) for i in operator.outputs)
        return Node(f"n{index}", op, tuple(self._name(i) for i in operands), outputs)

    def window(self, operator: Any, kernel: tuple[int, ...]) -> tuple[Any, Activation]:
        options = operator.builtinOptions
        size = self._shape(operator.inputs[0])[1:3]
        dilations = getattr(options, "dilationHFactor", 1), getattr(options, "dilationWFactor", 1)
        strides = options.strideH, options.strideW
        pairs = [
            _pads(options.padding == 0, *each)
            for each in zip(size, kernel, strides, dilations, strict=True)
        ]
        pads = (*(p[0] for p in pairs), *(p[1] for p in pairs))
        return (strides, pads, dilations), ACTIVATIONS[options.fusedActivationFunction]

    def shape(self, index: int) -> tuple[int, ...]:
        return self._shape(index)

    def data(self, index: int) -> np.ndarray | None:
        return self._data(index)


Built = tuple[Op, list[int]]


def _conv(reader: _Reader, operator: Any) -> Built:
    kernel = reader.shape(operator.inputs[1])[1:3]
    (strides, pads, dilations), act = reader.window(operator, kernel)
    return ops.Conv(strides, pads, dilations, 1, act, Layout.NHWC), list(operator.inputs)


def _depthwise(reader: _Reader, operator: Any) -> Built:
    kernel = reader.shape(operator.inputs[1])[1:3]
    (strides, pads, dilations), act = reader.window(operator, kernel)
    multiplier = operator.builtinOptions.depthMultiplier
    op = ops.DepthwiseConv(strides, pads, dilations, multiplier, act, Layout.NHWC)
    return op, list(operator.inputs)


def _pool(reader: _Reader, operator: Any) -> Built:
    options = operator.builtinOptions
    kernel = (options.filterHeight, options.filterWidth)
    (strides, pads, _), _ = reader.window(operator, kernel)
    return ops.AveragePool(kernel, strides, pads, layout=Layout.NHWC), list(operator.inputs)


def _dense(reader: _Reader, operator: Any) -> Built:
    act = ACTIVATIONS[operator.builtinOptions.fusedActivationFunction]
    return ops.FullyConnected(act), list(operator.inputs)


def _add(reader: _Reader, operator: Any) -> Built:
    return ops.Add(ACTIVATIONS[operator.builtinOptions.fusedActivationFunction]), list(
        operator.inputs
    )


def _reshape(reader: _Reader, operator: Any) -> Built:
    return ops.Reshape(reader.shape(operator.outputs[0])), [operator.inputs[0]]


def _softmax(reader: _Reader, operator: Any) -> Built:
    return ops.Softmax(len(reader.shape(operator.inputs[0])) - 1), list(operator.inputs)


_BUILDERS: dict[str, Callable[[_Reader, Any], Built]] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "AVERAGE_POOL_2D": _pool,
    "FULLY_CONNECTED": _dense,
    "ADD": _add,
    "RESHAPE": _reshape,
    "SOFTMAX": _softmax,
}
