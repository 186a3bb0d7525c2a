"""Recipes: the user's word for a choice of precisions."""

from __future__ import annotations

from dataclasses import dataclass

from qhal.ir.dtypes import DType
from qhal.targets.capability import KernelRow


@dataclass(frozen=True)
class Recipe:
    """Which element types a kernel may have to count as "what was asked for".

    Attributes:
        name: such as ``w8a8``.
        title: one line for people.
        activation: allowed types of activations.
        weight: allowed types of weights.
    """

    name: str
    title: str
    activation: frozenset[DType]
    weight: frozenset[DType]

    def accepts(self, row: KernelRow, weighted: bool) -> bool:
        """Return True if a kernel row is of this recipe; ``weighted``: the node has a weight."""
        if row.activation.dtype not in self.activation:
            return False
        return not weighted or (row.weight is not None and row.weight.dtype in self.weight)

    @property
    def narrow(self) -> bool:
        """True if activations have at most 8 bits, so that every step of them counts."""
        return all(dtype.bits <= 8 for dtype in self.activation)

    @property
    def weight_bits(self) -> int:
        """Fewest bits of a weight."""
        return min(dtype.bits for dtype in self.weight)

    @property
    def is_float(self) -> bool:
        """True if activations stay in float."""
        return all(dtype.is_float for dtype in self.activation)


_INT8 = frozenset({DType.INT8, DType.UINT8})
_INT16 = frozenset({DType.INT16, DType.UINT16})
_FLOAT = frozenset({DType.FLOAT32, DType.FLOAT16})
_BFLOAT = frozenset({DType.BFLOAT16})

FLOAT32 = Recipe("float32", "no quantization: the baseline", _FLOAT, frozenset({DType.FLOAT32}))

RECIPES: tuple[Recipe, ...] = (
    Recipe("w8a8", "8-bit weights and activations", _INT8, _INT8),
    Recipe("w8a16", "8-bit weights, 16-bit activations", _INT16, _INT8),
    Recipe("w8", "8-bit weights, activations in float", _FLOAT, _INT8),
    Recipe(
        "w4", "4-bit weights, activations in float", _FLOAT, frozenset({DType.INT4, DType.UINT4})
    ),
    Recipe(
        "nf4", "4-bit NormalFloat weights, activations in float", _FLOAT, frozenset({DType.NF4})
    ),
    Recipe("fp16", "16-bit float", _FLOAT, frozenset({DType.FLOAT16})),
    Recipe("bf16", "bfloat16 weights and products", _FLOAT | _BFLOAT, _BFLOAT),
)
