"""What a quantized tensor may look like, as hardware states it.

Absolute specs (:class:`QuantSpec`, :class:`FixedQParams`) say what a tensor is; relations
(:class:`SameAsInput`, :class:`Derived`) say what it is in terms of others. The vocabulary
is the one of PyTorch 2 Export quantization, in data instead of annotations.
"""

from __future__ import annotations

from dataclasses import dataclass

from qhal.ir.dtypes import DType

_FEW_BITS = 4
"""Weights of more bits lose too little to pay for the time that fitting takes."""


@dataclass(frozen=True)
class PerTensor:
    """One scale for the whole tensor: scale shape ()."""


@dataclass(frozen=True)
class PerAxis:
    """One scale per channel: scale shape (C,). The axis follows from the operator.

    Of a weight these are the output channels. An activation can have them in front of a depthwise
    convolution only, where no sum runs over channels.
    """


@dataclass(frozen=True)
class PerGroup:
    """One scale per ``size`` consecutive weights of an output channel: scale shape (O, K/size)."""

    size: int


Granularity = PerTensor | PerAxis | PerGroup


@dataclass(frozen=True)
class QuantSpec:
    """An element type with its granularity.

    Attributes:
        dtype: stored type; a float type means "not quantized". An activation in a float type of
            16 bits is a float32 tensor that the kernel rounds as it reads.
        granularity: how many scales.
        symmetric: zero point is 0 (or the middle of an unsigned type).
        narrow_range: the most negative integer is not used (-127 … 127).
        bits: of a symmetric weight, if the hardware takes fewer than its type has.
    """

    dtype: DType
    granularity: Granularity = PerTensor()
    symmetric: bool = False
    narrow_range: bool = False
    bits: int | None = None

    @property
    def qmin(self) -> int:
        """Smallest integer that is used."""
        low = self.dtype.qmin if self.bits is None else -(1 << (self.bits - 1))
        return low + self.narrow_range

    @property
    def qmax(self) -> int:
        """Largest integer that is used."""
        return self.dtype.qmax if self.bits is None else (1 << (self.bits - 1)) - 1

    @property
    def used_bits(self) -> int:
        """Bits of an element that carry its value."""
        return self.dtype.bits if self.bits is None else self.bits

    @property
    def few(self) -> bool:
        """True if a weight has so few bits that it has to be fitted to what its layer sees."""
        return self.used_bits <= _FEW_BITS

    @property
    def quantized(self) -> bool:
        """True if elements are integers or codes, with a scale."""
        return not self.dtype.is_float

    @property
    def coarse(self) -> bool:
        """True if weights lose enough to correct the bias: bfloat16 has as few digits as int8."""
        return self.quantized or self.dtype is DType.BFLOAT16

    def __str__(self) -> str:
        return self.dtype.value if self.bits is None else f"{self.dtype.value} of {self.bits} bits"


@dataclass(frozen=True)
class FixedQParams:
    """A tensor whose parameters the hardware fixes, such as Softmax at 1/256."""

    dtype: DType
    scale: float
    zero_point: int

    @property
    def quantized(self) -> bool:
        """Always true."""
        return True

    def __str__(self) -> str:
        return f"{self.dtype.value} (scale {self.scale:g}, zero point {self.zero_point})"


@dataclass(frozen=True)
class SameAsInput:
    """The output has the parameters of operand 0 — and, with ``every``, of every activation."""

    every: bool = False

    def __str__(self) -> str:
        return "same as every input" if self.every else "same as input"


@dataclass(frozen=True)
class Derived:
    """A bias: an integer with ``scale = s_input * s_weight`` and zero point 0."""

    dtype: DType = DType.INT32


OutputSpec = QuantSpec | FixedQParams | SameAsInput

FLOAT = QuantSpec(DType.FLOAT32)
HALF = QuantSpec(DType.FLOAT16)
BFLOAT = QuantSpec(DType.BFLOAT16)
