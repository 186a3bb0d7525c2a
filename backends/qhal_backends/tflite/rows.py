"""The kernel rows of TFLite, by what they share.

TFLite 8-bit quantization specification (ai.google.dev/edge/litert, "LiteRT 8-bit quantization
specification"): int8 activations per tensor, int8 weights symmetric in -127 … 127, int32 bias
with ``scale = s_input * s_weight`` and zero point 0. 16x8: int16 activations with zero point 0,
int64 bias (tensorflow/lite/kernels/conv.cc).
"""

from __future__ import annotations

from qhal.ir.dtypes import DType
from qhal.targets.capability import KernelRow
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

Limits = tuple[Limit, ...]

FLOAT32 = KernelRow(FLOAT, FLOAT, name="float32")
WEIGHTED_FLOAT32 = KernelRow(FLOAT, FLOAT, weight=FLOAT, bias=FLOAT, name="float32")
FLOAT16_WEIGHTS = KernelRow(FLOAT, FLOAT, weight=HALF, bias=HALF, name="float16 weights")


def int8(output: OutputSpec = INT8, limits: Limits = ()) -> KernelRow:
    """Eight-bit activations."""
    return KernelRow(INT8, output, limits=limits, name="int8")


def int16(output: OutputSpec = INT16, limits: Limits = ()) -> KernelRow:
    """Sixteen-bit activations."""
    return KernelRow(INT16, output, limits=limits, name="int16")


MOVED = SameAsInput()
SHARED = SameAsInput(every=True)

INT8_WEIGHTED = KernelRow(
    INT8, INT8, weight=PER_AXIS, bias=Derived(DType.INT32), name="int8 per-axis"
)
INT16_WEIGHTED = KernelRow(
    INT16, INT16, weight=PER_AXIS, bias=Derived(DType.INT64), name="int16x8 per-axis"
)


def hybrid(weight: QuantSpec, limits: Limits = ()) -> KernelRow:
    """Dynamic range: integer weights, activations quantized by the kernel at run time."""
    return KernelRow(FLOAT, FLOAT, weight, FLOAT, limits=limits, name="dynamic-range int8")


INT8_STORED = KernelRow(FLOAT, FLOAT, PER_AXIS, FLOAT, name="int8 weights, float32 arithmetic")

# Fixed outputs (quantization specification, section "Int8 quantized operator specifications";
# for 16 bits the Prepare functions of activations.cc).
INT8_PROBABILITY = FixedQParams(DType.INT8, 1 / 256, -128)
INT8_TANH = FixedQParams(DType.INT8, 1 / 128, 0)
INT8_BYTE = FixedQParams(DType.INT8, 1.0, -128)  # what an unsigned byte stands for, shifted
INT8_LOG_PROBABILITY = FixedQParams(DType.INT8, 16 / 256, 127)
INT16_FRACTION = FixedQParams(DType.INT16, 1 / 32768, 0)
