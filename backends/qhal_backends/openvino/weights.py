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

    Plugins recognise the three and either multiply the integers themselves or unpack them once,
    at load.
    """

    def __init__(self, model: QuantModel, writer: OnnxWriter) -> None:
        self._model = model
        self._onnx = writer
        self._real: dict[str, str] = {}

    def real(self, name: str) -> str:
        """The float32 tensor with the values of ``name``, written at first need."""
        if name not in self._model.graph.constants:
            return name
        if name not in self._real:
            self._real[name] = self._widened(name)
        return self._real[name]

    def transposed(self, name: str) -> str:
        """A weight (N, K) as float32 (K, N)."""
        constants, params = self._model.graph.constants, self._model.params.get(name)
        key = f"{name}__transposed"
        if name not in constants or (params is not None and params.group_size):
            return self._turned(self.real(name), key)
        if key not in self._real:
            value, dtype = constants[name].T, self._model.graph.tensors[name].dtype
            stored = self._onnx.fresh(key)
            self._onnx.initializer(stored, value, dtype)
            column = None if params is None else _columns(params, value.shape)
            self._real[key] = self._unpacked(stored, dtype, column)
        return self._real[key]

    def bias(self, name: str, node: Node) -> str:
        """A bias (O,) in the shape in which it is added to the result of ``node``."""
        value = self._model.graph.constants.get(name)
        if value is None:
            raise AssertionError(f"the bias {name} is computed")
        real = value.astype(np.float32)
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
        return self._unpacked(name, kind.dtype, broadcast_params(params, kind.shape))

    def _ungrouped(self, name: str, params: QuantParams) -> str:
        """Weights (N, K) in groups, stored as (N, groups, size) beside scales (N, groups, 1)."""
        kind, value = self._model.graph.tensors[name], self._model.graph.constants[name]
        stored = self._onnx.fresh(f"{name}__groups")
        shape = (kind.shape[0], -1, params.group_size)
        self._onnx.initializer(stored, value.reshape(shape), kind.dtype)
        columns = (params.scale[..., np.newaxis], params.zero_point[..., np.newaxis])
        groups = self._unpacked(stored, kind.dtype, columns)
        real = self._onnx.fresh(f"{name}__real")
        self._onnx.node("Reshape", (groups, self._onnx.ints("shape", kind.shape)), (real,))
        return real

    def _unpacked(self, name: str, dtype: DType, params: tuple[Array, Array] | None) -> str:
        """``scale * (Convert(name) - zero_point)``, in as few steps as it takes."""
        if dtype in (DType.FLOAT32, DType.INT64, DType.BOOL) and params is None:
            return name
        if params is None and not dtype.is_float:
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

    def _turned(self, name: str, hint: str) -> str:
        result = self._onnx.fresh(hint)
        self._onnx.node("Transpose", (name,), (result,), perm=(1, 0))
        return result


def _columns(params: QuantParams, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Scale and zero point of a weight (N, K) for its transposed form."""
    scale, zero_point = broadcast_params(params, shape[::-1])
    return scale.T, zero_point.T
