"""Write QuantizeLinear, DequantizeLinear and other conversions between integers and reals."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from qhal.ir.dtypes import DType
from qhal.ir.export import OnnxWriter
from qhal.ir.export.writer import element_type
from qhal.quant.arithmetic import broadcast_params, quantize
from qhal.quant.model import QuantModel, QuantParams

MICROSOFT = "com.microsoft"
"""The operator set of ONNX Runtime's own operators."""


@dataclass
class QdqWriter:
    """Conversions between the integers and the real values of tensors.

    Attributes:
        model: types, parameters and constants.
        onnx: takes the nodes.
    """

    model: QuantModel
    onnx: OnnxWriter
    _real: dict[str, str] = field(default_factory=dict)

    def params(self, name: str) -> QuantParams:
        """Return the parameters of a quantized tensor of the model."""
        return self.model.params[name]

    # --- conversions ---

    def quantize(self, real: str, name: str, node: str, params: QuantParams | None = None) -> None:
        """Write ``name``, integers, from ``real``; parameters are those of ``name`` if None."""
        params = params or self.params(name)
        operands = (real, *self._parameters(name, params))
        self.onnx.node("QuantizeLinear", operands, (name,), name=node, axis=params.axis)

    def dequantize(
        self, name: str, real: str, node: str, params: QuantParams | None = None
    ) -> None:
        """Write ``real`` from the integers ``name``."""
        params = params or self.params(name)
        operands = (name, *self._parameters(name, params))
        self.onnx.node("DequantizeLinear", operands, (real,), name=node, axis=params.axis)

    def dequantized(self, name: str, params: QuantParams | None = None) -> str:
        """Make a fresh tensor with the values of the integers ``name``."""
        real = self.onnx.fresh(f"{name}__dequantized")
        self.dequantize(name, real, real, params)
        return real

    def real(self, name: str) -> str:
        """Name the float tensor with the values of ``name``, which is written at first need."""
        if name not in self.model.params:
            return self.widened(name)
        if name not in self._real:
            self._real[name] = self._dequantized_weight(name)
        return self._real[name]

    def _dequantized_weight(self, name: str) -> str:
        """Make the values of ``name``, behind a Cast to int8 if they are stored in fewer bits.

        ONNX Runtime folds the Cast as it loads the model and finds an int8 weight in front of the
        product. Without it there is no integer kernel: of int4 the product is computed in float,
        and of int2 ONNX Runtime 1.32 makes a kernel that it then refuses itself.
        """
        params = self.params(name)
        if params.dtype.bits >= DType.INT8.bits:
            return self.dequantized(name)
        wide = self._cast(name, DType.INT8)
        return self.dequantized(wide, replace(params, dtype=DType.INT8))

    def float_name(self, name: str) -> str:
        """Name the values of a result before they are quantized, if they are."""
        return self.onnx.fresh(f"{name}__real") if name in self.model.params else name

    # --- constants that are stored in fewer bits than they are computed in ---

    def widened(self, name: str) -> str:
        """Name the float32 values of a stored constant, in a form that is folded at load time.

        ONNX Runtime keeps a DequantizeLinear of a weight and runs it at every inference, unless
        a MatMul absorbs it: a convolution was 1.2 times slower than in float. A Cast and a Mul
        are folded into a float32 weight once.
        """
        if name not in self._real:
            self._real[name] = self._make_wide(name)
        return self._real[name]

    def _make_wide(self, name: str) -> str:
        if name not in self.model.graph.constants:
            return name
        params = self.model.params.get(name)
        if params is not None:
            return self._unscaled(name, params)
        if self.model.graph.tensors[name].dtype is DType.FLOAT16:
            return self._cast(name)
        return name

    def _unscaled(self, name: str, params: QuantParams) -> str:
        scale, _ = broadcast_params(params, self.model.graph.tensors[name].shape)
        factor = self.onnx.constant(f"{name}__scale", scale)
        wide = self.onnx.fresh(f"{name}__dequantized")
        self.onnx.node("Mul", (self._cast(name), factor), (wide,))
        return wide

    def _cast(self, name: str, dtype: DType = DType.FLOAT32) -> str:
        wide = self.onnx.fresh(f"{name}__{dtype.value}")
        self.onnx.node("Cast", (name,), (wide,), to=element_type(dtype))
        return wide

    # --- saturation ---

    def saturates(self, name: str, low: float, high: float) -> bool:
        """Return True if the integers of ``name`` cannot exceed ``low … high``."""
        dtype = self.params(name).dtype
        return clamp(self.params(name), low, high) == (dtype.qmin, dtype.qmax)

    def clip(self, before: str, name: str, low: float, high: float, node: str) -> None:
        """Write ``name`` from ``before``, integers with the same parameters, clipped."""
        params = self.params(name)
        bounds = [
            self.onnx.constant(f"{name}__{hint}", np.asarray(bound, params.dtype.numpy))
            for hint, bound in zip(("low", "high"), clamp(params, low, high), strict=True)
        ]
        self.onnx.node("Clip", (before, *bounds), (name,), name=node)

    def _parameters(self, name: str, params: QuantParams) -> tuple[str, ...]:
        """Write scale and zero point; ONNX has no zero point for int32."""
        scale = self.onnx.constant(f"{name}__scale", params.scale.astype(np.float32))
        if params.dtype is DType.INT32:
            return (scale,)
        hint, value = f"{name}__zero_point", params.zero_point.astype(params.dtype.numpy)
        if params.dtype is DType.INT8:
            return scale, self._unshared(hint, value)
        return scale, self.onnx.constant(hint, value, params.dtype)

    def _unshared(self, hint: str, value: npt.NDArray[np.generic]) -> str:
        """Write a constant of its own, even if it equals another one.

        With exact sums (:mod:`qhal_backends.cpu.saturating_sums`) ONNX Runtime makes signed weights
        unsigned, one by one, and names the new zero point after the old one. If two weights share
        a zero point, it does not load the model (1.31).
        """
        name = self.onnx.fresh(hint)
        self.onnx.initializer(name, value)
        return name


def clamp(params: QuantParams, low: float, high: float) -> tuple[int, int]:
    """Quantize two real bounds, saturated to the range of the type."""
    bounds = quantize(np.asarray((low, high), np.float32), params)
    return int(bounds[0]), int(bounds[1])
