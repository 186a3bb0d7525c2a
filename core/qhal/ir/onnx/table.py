"""All mappings: (domain, operator) -> how its canonical form is emitted."""

from __future__ import annotations

from collections.abc import Mapping

from qhal.ir.onnx.call import Mapper
from qhal.ir.onnx.map_einsum import EINSUM
from qhal.ir.onnx.map_elementwise import ELEMENTWISE
from qhal.ir.onnx.map_gather_nd import GATHER_ND
from qhal.ir.onnx.map_microsoft import MICROSOFT, UNLISTED
from qhal.ir.onnx.map_movement import MOVEMENT
from qhal.ir.onnx.map_normalize import NORMALIZING
from qhal.ir.onnx.map_products import PRODUCTS
from qhal.ir.onnx.map_spatial import SPATIAL

_STANDARD: Mapping[str, Mapper] = {
    **ELEMENTWISE,
    **PRODUCTS,
    **EINSUM,
    **SPATIAL,
    **NORMALIZING,
    **MOVEMENT,
    **GATHER_ND,
    **UNLISTED,
}

TABLE: Mapping[tuple[str, str], Mapper] = {
    **{("", kind): mapper for kind, mapper in _STANDARD.items()},
    **{("com.microsoft", kind): mapper for kind, mapper in MICROSOFT.items()},
}
