"""The context of a kernel: one node with all that it needs to know before it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from qhal.errors import InternalError
from qhal.ir.dtypes import DType
from qhal.ir.graph import Graph, Node, TensorType
from qhal.ir.ops import Op, Role
from qhal.quant.arithmetic import dequantize, rounded
from qhal.quant.model import QuantModel, QuantParams
from qhal.quant.oracle.values import Array
from qhal.targets.capability import Arithmetic

Operands = Sequence[Array | None]
"""Values of a node's operands in order; None where an optional operand is absent."""

Kernel = Callable[[Operands], tuple[Array, ...]]
"""Computes a node's results. Built once per node, run once per sample."""

Real = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class KernelContext:
    """A node, its surroundings and the arithmetic of its kernel.

    Attributes:
        node: the node.
        graph: types and constants.
        params: quantized tensor -> parameters.
        arithmetic: how integer kernels round.
        reads: the float type to which a kernel in float rounds its activations as it reads them.
    """

    node: Node
    graph: Graph
    params: Mapping[str, QuantParams]
    arithmetic: Arithmetic
    reads: DType = DType.FLOAT32

    @staticmethod
    def of(model: QuantModel, node: Node) -> KernelContext:
        """Make the context of one node of a model."""
        row = model.kernels.get(node.name)
        reads = DType.FLOAT32 if row is None or row.activation.quantized else row.activation.dtype
        return KernelContext(node, model.graph, model.params, model.arithmetic, reads)

    @property
    def op(self) -> Op:
        """The operator."""
        return self.node.op

    def has(self, index: int) -> bool:
        """Return True if operand ``index`` is there."""
        return index < len(self.node.inputs) and bool(self.node.inputs[index])

    def input_type(self, index: int = 0) -> TensorType:
        """Return the type of operand ``index``."""
        return self.graph.tensors[self.node.inputs[index]]

    def output_type(self, index: int = 0) -> TensorType:
        """Return the type of result ``index``."""
        return self.graph.tensors[self.node.outputs[index]]

    def constant(self, index: int) -> Array | None:
        """Return the stored value of operand ``index``, None if it is absent or computed."""
        return self.graph.constants.get(self.node.inputs[index]) if self.has(index) else None

    def input_params(self, index: int = 0) -> QuantParams:
        """Return the parameters of operand ``index``; raise an error if it has none."""
        return self._params(self.node.inputs[index])

    def output_params(self, index: int = 0) -> QuantParams:
        """Return the parameters of result ``index``; raise an error if it has none."""
        return self._params(self.node.outputs[index])

    def _params(self, tensor: str) -> QuantParams:
        if tensor not in self.params:
            raise InternalError(
                f"the oracle reached {self.op.kind} '{self.node.name}' whose tensor"
                f" '{tensor}' has no quantization parameters"
            )
        return self.params[tensor]

    @cached_property
    def integer(self) -> bool:
        """True if the node computes on quantized activations (a float node may have weights)."""
        activations = (
            name
            for index, name in enumerate(self.node.inputs)
            if self.op.role(index) is Role.ACTIVATION
        )
        return not self.output_type().dtype.is_float and any(n in self.params for n in activations)

    def real_value(self, index: int) -> Array | None:
        """Return constant operand ``index`` for a float kernel (dequantized, float16 widened)."""
        value = self.constant(index)
        return None if value is None else self.to_real(value, index)

    def to_real(self, value: Array, index: int) -> Array:
        """Convert operand ``index`` to what a float kernel reads."""
        name = self.node.inputs[index]
        real = dequantize(value, self.params[name]) if name in self.params else widen(value)
        if self.op.role(index) is not Role.ACTIVATION or real.dtype != np.float32:
            return real
        return widen(rounded(real, self.reads))


def operands_of(operands: Operands) -> list[Array]:
    """Return the operands that are there."""
    return [x for x in operands if x is not None]


def widen(value: Array) -> Array:
    """Convert float16 to float32; keep anything else."""
    return value.astype(np.float32) if value.dtype == np.float16 else value


def scalar(params: QuantParams) -> tuple[np.float32, int]:
    """Return scale and zero point of per-tensor parameters."""
    if params.axis is not None:
        raise InternalError(f"per-tensor parameters expected, found an axis {params.axis}")
    return np.float32(params.scale), int(params.zero_point)


def saturate(values: npt.NDArray[np.generic], dtype: DType) -> Array:
    """Clip to the range of ``dtype`` and convert."""
    return np.asarray(np.clip(values, dtype.qmin, dtype.qmax).astype(dtype.numpy))
