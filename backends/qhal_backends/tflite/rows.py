"""The kernel rows of TFLite, by what they share.

TFLite 8-bit quantization specification (ai.google.dev/edge/litert, "LiteRT 8-bit quantization
specification"): int8 activations per tensor, int8 weights symmetric in -127 … 127, int32 bias
with ``scale = s_input * s_weight`` and zero point 0. 16x8: int16 activations with zero point 0,
int64 bias (tensorflow/lite/kernels/conv.cc).
"""

from __future__ import annotations

from dataclasses import replace

from qhal.ir.dtypes import DType
from qhal.targets.capability import KernelRow, ScaleLimit
from qhal.targets.limit import Limit
from qhal.targets.spec import (
    FLOAT,
    HALF,
    Derived,
    FixedQParams,
    OutputSpec,
    PerAxis,
    PerTensor,
    QuantSpec,
    SameAsInput,
)

INT8 = QuantSpec(DType.INT8)
INT16 = QuantSpec(DType.INT16, symmetric=True)
INDEX = QuantSpec(DType.INT64)
PER_AXIS = QuantSpec(DType.INT8, PerAxis(), symmetric=True, narrow_range=True)
PER_TENSOR = QuantSpec(DType.INT8, PerTensor(), symmetric=True, narrow_range=True)
INT4_PER_AXIS = QuantSpec(DType.INT4, PerAxis(), symmetric=True)

Limits = tuple[Limit, ...]

FLOAT32 = KernelRow(FLOAT, FLOAT, name="float32")
WEIGHTED_FLOAT32 = KernelRow(FLOAT, FLOAT, weight=FLOAT, bias=FLOAT, name="float32")
FLOAT16_WEIGHTS = KernelRow(FLOAT, FLOAT, weight=HALF, bias=HALF, name="float16 weights")


def int8(
    output: OutputSpec = INT8, limits: Limits = (), scales: ScaleLimit | None = None
) -> KernelRow:
    """Make a row with 8-bit activations."""
    return KernelRow(INT8, output, limits=limits, name="int8", scales=scales)


def int16(
    output: OutputSpec = INT16, limits: Limits = (), scales: ScaleLimit | None = None
) -> KernelRow:
    """Make a row with 16-bit activations."""
    return KernelRow(INT16, output, limits=limits, name="int16", scales=scales)


# Of sums, twice the larger scale over 2**20 (8 bits) or 2**15 (16 bits) of the result's has to be
# below 1 (add.cc): ADD ends the process where it is not, and SUB gives wrong results. A product of
# two 8-bit operands has 16 bits, and has to fit 32 once it is scaled (mul.cc).
INT8_SUM = ScaleLimit(operand=2.0**19)
INT16_SUM = ScaleLimit(operand=2.0**14)
PRODUCT = ScaleLimit(product=2.0**16)


MOVED = SameAsInput()
SHARED = SameAsInput(every=True)

INT8_WEIGHTED = KernelRow(
    INT8, INT8, weight=PER_AXIS, bias=Derived(DType.INT32), name="int8 per-axis"
)
INT16_WEIGHTED = KernelRow(
    INT16, INT16, weight=PER_AXIS, bias=Derived(DType.INT64), name="int16x8 per-axis"
)

INT4_WEIGHTED = KernelRow(
    *(INT8, INT8, INT4_PER_AXIS, Derived(DType.INT32)),
    name="int8x4 per-axis",
    computes=DType.INT8,
)
"""Weights in -8 ... 7, two to a byte (the type INT4 of the schema)."""


def of_few_levels(row: KernelRow, bits: int) -> KernelRow:
    """Keep to few integers of the type in which a row stores its weight."""
    assert row.weight is not None
    weight = QuantSpec(row.weight.dtype, row.weight.granularity, symmetric=True, bits=bits)
    name = f"{row.name}, {1 << bits} levels"
    return replace(row, weight=weight, name=name, computes=row.weight.dtype)


def hybrid(weight: QuantSpec, limits: Limits = ()) -> KernelRow:
    """Make a dynamic-range row: integer weights, activations quantized at run time."""
    return KernelRow(FLOAT, FLOAT, weight, FLOAT, limits=limits, name="dynamic-range int8")


INT4_HYBRID = KernelRow(
    FLOAT, FLOAT, INT4_PER_AXIS, FLOAT, name="dynamic-range int4", computes=DType.INT8
)


INT8_STORED = KernelRow(FLOAT, FLOAT, PER_AXIS, FLOAT, name="int8 weights, float32 arithmetic")

# Fixed outputs (quantization specification, section "Int8 quantized operator specifications";
# for 16 bits the Prepare functions of activations.cc).
INT8_PROBABILITY = FixedQParams(DType.INT8, 1 / 256, -128)
INT8_TANH = FixedQParams(DType.INT8, 1 / 128, 0)
INT8_BYTE = FixedQParams(DType.INT8, 1.0, -128)  # what an unsigned byte stands for, shifted
INT8_LOG_PROBABILITY = FixedQParams(DType.INT8, 16 / 256, 127)
INT16_FRACTION = FixedQParams(DType.INT16, 1 / 32768, 0)
