"""Element types, with the facts that quantization needs about them."""

from __future__ import annotations

from enum import Enum

import numpy as np
import numpy.typing as npt


class DType(Enum):
    """The type of a tensor's elements; the value is the name used in text and JSON."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    FLOAT64 = "float64"
    BFLOAT16 = "bfloat16"
    INT4 = "int4"
    UINT4 = "uint4"
    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    BOOL = "bool"

    @property
    def is_float(self) -> bool:
        """True for float16, bfloat16, float32 and float64."""
        return "float" in self.value

    @property
    def bits(self) -> int:
        """Bits that one element takes when stored densely."""
        digits = "".join(c for c in self.value if c.isdigit())
        return int(digits) if digits else 8

    @property
    def qmin(self) -> int:
        """Smallest integer of an integer type."""
        return 0 if self.value.startswith("u") else -(1 << (self.bits - 1))

    @property
    def qmax(self) -> int:
        """Largest integer of an integer type."""
        return (1 << self.bits) - 1 if self.value.startswith("u") else (1 << (self.bits - 1)) - 1

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """The NumPy type that holds one element (4-bit types are held in 8 bits)."""
        widened = {"int4": "int8", "uint4": "uint8", "bfloat16": "float32"}
        return np.dtype(widened.get(self.value, self.value))

    @classmethod
    def of(cls, array: npt.NDArray[np.generic]) -> DType:
        """The element type of a NumPy array; raises ValueError for others (strings …)."""
        return cls(array.dtype.name)
