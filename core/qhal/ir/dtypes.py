"""Element types, with the facts that quantization needs about them."""

from __future__ import annotations

from enum import Enum

import numpy as np
import numpy.typing as npt

from qhal.errors import InternalError

NORMAL_FLOAT = np.array(
    (
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
        *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    ),
    np.float32,
)
"""The 16 numbers of 4-bit NormalFloat, rising: quantiles of the normal distribution, with an exact
zero (Dettmers et al. 2023, "QLoRA", arXiv 2305.14314, appendix E)."""
NORMAL_FLOAT.setflags(write=False)


class DType(Enum):
    """The type of a tensor's elements; the value is the name used in text and JSON."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    FLOAT64 = "float64"
    BFLOAT16 = "bfloat16"
    INT2 = "int2"
    INT4 = "int4"
    UINT4 = "uint4"
    NF4 = "nf4"
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
    def is_integer(self) -> bool:
        """True if elements are integers, not codes of a codebook."""
        return "int" in self.value

    @property
    def bits(self) -> int:
        """Bits that one element takes when stored densely."""
        digits = "".join(c for c in self.value if c.isdigit())
        return int(digits) if digits else 8

    @property
    def codebook(self) -> npt.NDArray[np.float32] | None:
        """The numbers that stored codes 0, 1, … stand for; None where elements are numbers."""
        return NORMAL_FLOAT if self is DType.NF4 else None

    @property
    def qmin(self) -> int:
        """Smallest integer of an integer type; others raise InternalError."""
        self._check_integer()
        return 0 if self.value.startswith("u") else -(1 << (self.bits - 1))

    @property
    def qmax(self) -> int:
        """Largest integer of an integer type; others raise InternalError."""
        self._check_integer()
        return (1 << self.bits) - 1 if self.value.startswith("u") else (1 << (self.bits - 1)) - 1

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """The NumPy type that holds one element.

        Types of 2 and 4 bits are held in 8 bits, bfloat16 in a float32 that it represents exactly.
        """
        widened = {"int2": "int8", "int4": "int8", "uint4": "uint8", "nf4": "uint8"}
        widened["bfloat16"] = "float32"
        return np.dtype(widened.get(self.value, self.value))

    def _check_integer(self) -> None:
        if not self.is_integer:
            raise InternalError(f"elements of type {self.value} are not integers.")

    @classmethod
    def of(cls, array: npt.NDArray[np.generic]) -> DType:
        """Return the element type of a NumPy array; raise ValueError for others (strings …)."""
        return cls(array.dtype.name)
