"""Constants that are stored in fewer bits than they are computed in."""

from __future__ import annotations

import numpy as np

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.export import OnnxWriter
from qhal.ir.export.writer import element_type
from qhal.ir.graph import Array, Node
from qhal.ir.ops import Layout
from qhal.quant.arithmetic import broadcast_params
from qhal.quant.model import QuantModel, QuantParams


class WeightWriter:
    """Writes stored constants as ``Convert``, ``Subtract`` and ``Multiply``.

    Plugins recognize the three and either multiply the integers themselves or unpack them once,
    at load time. ``Convert`` of a code of ``nf4`` gives the number that it stands for.

    Weights of few bits that a kernel multiplies as int8 are converted to that first: the plugin
    for processors folds this once. Without it OpenVINO 2026.4 multiplies in float, and converts
    the weights of a 1x1 convolution at every inference.

    Attributes:
        retyped: constants of a type that the frontend for ONNX lacks; they are ``uint4`` in ONNX.
            Those of ``int2`` are 2 more, since OpenVINO's type of 2 bits is unsigned.
    """

    def __init__(self, model: QuantModel, writer: OnnxWriter) -> None:
        self._model = model
        self._onnx = writer
        self._real: dict[str, str] = {}
        self._as_bytes = _multiplied_as_bytes(model)
        self.retyped: dict[str, DType] = {}

    def store(self, name: str, value: Array, dtype: DType) -> None:
        """Write the constant ``name``."""
        if dtype in (DType.NF4, DType.INT2):
            self.retyped[name] = dtype
            value, dtype = value - dtype.qmin if dtype.is_integer else value, DType.UINT4
        self._onnx.initializer(name, value, dtype)

    def real(self, name: str) -> str:
        """Name the float32 tensor with the values of ``name``, which is written at first need."""
        if name not in self._model.graph.constants:
            return name
        if name not in self._real:
            self._real[name] = self._widened(name)
        return self._real[name]

    def transposed(self, name: str) -> str:
        """Transpose a weight (N, K) to float32 (K, N).

        The Transpose stands behind the scales: plugins take it into the product, while they would
        turn back a weight that is stored transposed whenever the model runs.
        """
        key = f"{name}__transposed"
        if key not in self._real:
            self._real[key] = self._onnx.fresh(key)
            self._onnx.node("Transpose", (self.real(name),), (self._real[key],), perm=(1, 0))
        return self._real[key]

    def bias(self, name: str, node: Node) -> str:
        """Write a bias (O,) in the shape in which it is added to the result of ``node``."""
        real = self._model.graph.constants[name].astype(np.float32)
        if isinstance(node.op, ops.FullyConnected):
            return self._onnx.constant(f"{name}__row", real.reshape(1, -1))
        rank = len(self._model.graph.tensors[node.outputs[0]].shape)
        shape = [1] * rank
        shape[Layout.NCHW.channel_axis(rank)] = -1
        return self._onnx.constant(f"{name}__channels", real.reshape(shape))

    def _widened(self, name: str) -> str:
        params, kind = self._model.params.get(name), self._model.graph.tensors[name]
        if params is None:
            return self._unpacked(name, kind.dtype, None)
        if params.group_size:
            return self._ungrouped(name, params)
        stored = self._bytes(name, kind.dtype) if name in self._as_bytes else name
        return self._unpacked(stored, kind.dtype, broadcast_params(params, kind.shape))

    def _bytes(self, name: str, dtype: DType) -> str:
        """Write an integer constant as int8."""
        stored = self._onnx.fresh(f"{name}__int8")
        self._onnx.node("Cast", (name,), (stored,), to=element_type(DType.INT8))
        if dtype is not DType.INT2:
            return stored
        signed = self._onnx.fresh(f"{name}__signed")
        middle = self._onnx.constant(f"{name}__middle", np.asarray(-dtype.qmin, np.int8))
        self._onnx.node("Sub", (stored, middle), (signed,))
        return signed

    def _ungrouped(self, name: str, params: QuantParams) -> str:
        """Write weights (N, K) in groups as (N, groups, size), with scales (N, groups, 1)."""
        kind, value = self._model.graph.tensors[name], self._model.graph.constants[name]
        stored = self._onnx.fresh(f"{name}__groups")
        shape = (kind.shape[0], -1, params.group_size)
        self.store(stored, value.reshape(shape), kind.dtype)
        columns = (params.scale[..., np.newaxis], params.zero_point[..., np.newaxis])
        groups = self._unpacked(stored, kind.dtype, columns)
        real = self._onnx.fresh(f"{name}__real")
        self._onnx.node("Reshape", (groups, self._onnx.ints("shape", kind.shape)), (real,))
        return real

    def _unpacked(self, name: str, dtype: DType, params: tuple[Array, Array] | None) -> str:
        """Write ``scale * (Convert(name) - zero_point)`` in as few operators as possible."""
        if params is None and dtype not in (DType.FLOAT16, DType.BFLOAT16):
            return name
        real = self._onnx.fresh(f"{name}__float32")
        self._onnx.node("Cast", (name,), (real,), to=element_type(DType.FLOAT32))
        if params is None:
            return real
        scale, zero_point = params
        if np.any(zero_point):
            real = self._step("Sub", real, f"{name}__zero_point", zero_point)
        return self._step("Mul", real, f"{name}__scale", scale)

    def _step(self, op_type: str, name: str, hint: str, value: Array) -> str:
        result = self._onnx.fresh(f"{hint}__{op_type.lower()}")
        operand = self._onnx.constant(hint, value.astype(np.float32))
        self._onnx.node(op_type, (name, operand), (result,))
        return result


def _multiplied_as_bytes(model: QuantModel) -> frozenset[str]:
    """Find the weights that are stored in fewer bits than the integers that kernels multiply."""
    rows = ((node, model.kernels.get(node.name)) for node in model.graph.nodes)
    return frozenset(
        name
        for node, row in rows
        if row is not None and row.computes is DType.INT8
        for index, name in enumerate(node.inputs)
        if node.op.role(index) is ops.Role.WEIGHT
    )
