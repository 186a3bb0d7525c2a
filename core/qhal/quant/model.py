"""The quantized model: what the oracle executes and a backend lowers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from qhal.ir.dtypes import DType
from qhal.ir.graph import Graph, Node
from qhal.targets.capability import Arithmetic, KernelRow


@dataclass(frozen=True, eq=False)
class QuantParams:
    """``real = scale * (q - zero_point)``, or ``scale * codebook[q]`` where the type has one.

    Attributes:
        dtype: stored integer type, or type of codes.
        scale: float32, shape () per tensor, (O,) per axis, (O, K/group) per group.
        zero_point: int64, same shape as ``scale``; zeros beside a codebook.
        axis: the axis of the O scales, None per tensor.
        group_size: weights per scale along the other axis, 0 without groups.
    """

    dtype: DType
    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.int64]
    axis: int | None = None
    group_size: int = 0

    @staticmethod
    def per_tensor(dtype: DType, scale: float, zero_point: int) -> QuantParams:
        """Make parameters with one scale."""
        return QuantParams(dtype, np.asarray(scale, np.float32), np.asarray(zero_point, np.int64))

    def same_as(self, other: QuantParams) -> bool:
        """Return True if both map every integer to the same real number."""
        return (
            self.dtype is other.dtype
            and self.axis == other.axis
            and self.group_size == other.group_size
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )

    def __str__(self) -> str:
        """Print scales and zero points; of many scales only their range."""
        if self.scale.ndim == 0:
            return f"<s={float(self.scale):.9g} z={int(self.zero_point)}>"
        low, high = float(self.scale.min()), float(self.scale.max())
        grouped = f" group={self.group_size}" if self.group_size else ""
        return f"<s={low:.6g}..{high:.6g} axis={self.axis}{grouped}>"


@dataclass(frozen=True, eq=False)
class QuantModel:
    """A graph in which every tensor has its final type.

    Quantized tensors have a type of integers or codes in ``graph.tensors`` and an entry in
    ``params``; constants of the graph are stored in their final type. Quantize, Dequantize and
    Requantize conversions are nodes. A tensor without an entry in ``params`` is a plain one (float,
    index, bool).
    A weight may be quantized while its node computes in float (recipe ``w8``): the node's kernel
    row says so (float activation, integer weight).

    Attributes:
        graph: the graph.
        params: quantized tensor -> parameters.
        kernels: node name -> the kernel row it runs on (conversions have none).
        arithmetic: how integer kernels round.
        recipe: name of the recipe.
    """

    graph: Graph
    params: Mapping[str, QuantParams] = field(default_factory=dict)
    kernels: Mapping[str, KernelRow] = field(default_factory=dict)
    arithmetic: Arithmetic = Arithmetic.FIXED_POINT
    recipe: str = "float32"

    def unit_of(self, node: Node) -> str:
        """Return where a node is to run; "" is the target's main unit.

        A conversion to float is done where all of its readers are, if that is one unit.
        """
        row = self.kernels.get(node.name)
        if row is not None:
            return row.unit
        readers = (reader for name in node.outputs for reader in self.graph.consumers[name])
        rows = [found for each in readers if (found := self.kernels.get(each.name)) is not None]
        units = {found.unit for found in rows if not found.activation.quantized}
        return units.pop() if len(units) == 1 else ""
