"""The lowest version of a builtin operator that has what a use of it needs.

An older runtime (tflite-runtime 2.14, the Edge TPU compiler) refuses an operator whose version
is higher than what it knows, even if it needs nothing new. Rules:
tensorflow/compiler/mlir/lite/tools/versioning/op_version.cc. Where that file gives a 16-bit
operator version 1 although its kernel came later (CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED
with 8-bit weights), the version that added the 16-bit kernel is taken. Where the resolver of the
reference kernels (register_ref.cc) knows 8-bit integers under version 1 only (DEPTH_TO_SPACE,
TILE), that one is taken: the kernels do not look at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from qhal.ir.dtypes import DType
from qhal_backends.tflite.flat import FlatActivation, FlatOperator, FlatTensor, OptionValue
from qhal_backends.tflite.releases import RELEASES


@dataclass(frozen=True, eq=False)
class Use:
    """One use of a builtin operator: operands (None where absent), result, options."""

    inputs: Sequence[FlatTensor | None]
    output: FlatTensor
    options: Mapping[str, OptionValue]

    def operand(self, index: int) -> FlatTensor:
        """Return the operand ``index``, which must be present."""
        found = self.inputs[index]
        assert found is not None
        return found

    @property
    def is_hybrid(self) -> bool:
        """True if operand 0 is float and the weight, operand 1, an integer."""
        x, weight = self.operand(0).type.dtype, self.operand(1).type.dtype
        return x is DType.FLOAT32 and weight in (DType.INT8, DType.INT4)

    @property
    def is_packed(self) -> bool:
        """True if the weight, operand 1, has two integers in a byte."""
        return self.operand(1).type.dtype is DType.INT4

    @property
    def largest_rank(self) -> int:
        """The largest rank of the operands."""
        return max(len(t.type.shape) for t in self.inputs if t is not None)

    @property
    def broadcasts(self) -> bool:
        """True if the two operands differ in shape."""
        return self.operand(0).type.shape != self.operand(1).type.shape


def lowest_version(builtin: str, use: Use) -> int:
    """Find the lowest version of ``builtin`` that has what ``use`` needs."""
    data = use.operand(_DATA_OPERAND.get(builtin, 0)).type.dtype
    by_type = _BY_TYPE.get(builtin, {}).get(data, _FIRST.get(builtin, 1))
    extra = _EXTRA.get(builtin)
    return max(by_type, extra(use)) if extra else by_type


def lowest_runtime(operators: Iterable[FlatOperator]) -> str:
    """Find the first TensorFlow Lite release that has all operators in these versions."""
    found = (RELEASES[op.builtin][op.version - 1] for op in operators)
    return max(found, key=_as_numbers, default="1.5.0")


def _as_numbers(release: str) -> tuple[int, ...]:
    return tuple(map(int, release.split(".")))


# --- rules --------------------------------------------------------------------

_DATA_OPERAND = {"SPLIT": 1, "TRANSPOSE_CONV": 2, "SELECT_V2": 1}
_FIRST = {"BROADCAST_TO": 2}

_I8, _U8, _I16, _I32 = DType.INT8, DType.UINT8, DType.INT16, DType.INT32
_I64, _BOOL, _F16 = DType.INT64, DType.BOOL, DType.FLOAT16

_INT8 = {_I8: 2}
_INT8_INT16 = {_I8: 2, _I16: 3}
_INT8_INT16_LATE = {_I8: 2, _I16: 4}

_BY_TYPE: Mapping[str, Mapping[DType, int]] = {
    "ABS": {_I8: 2, _I16: 3, _I32: 5},
    "ADD": {_I8: 2, _I16: 3, _I64: 4},
    "ARG_MAX": {_I8: 2, _BOOL: 3},
    "AVERAGE_POOL_2D": _INT8_INT16,
    "BATCH_MATMUL": _INT8_INT16,
    "BROADCAST_TO": {_I8: 3, _I16: 3},
    "CONCATENATION": _INT8_INT16,
    "CONV_2D": {_I8: 3, _I16: 4},
    "DEPTHWISE_CONV_2D": {_I8: 3, _I16: 5},
    "DEQUANTIZE": {_I8: 2, _I16: 3, _F16: 3},
    "EQUAL": {_I8: 2, _I16: 5},
    "EXP": {_I8: 2, _I16: 2},
    "FULLY_CONNECTED": {_I8: 4, _I16: 7},
    "GATHER": {_I8: 2, _BOOL: 3, _I16: 4},
    "GELU": _INT8,
    "GREATER": _INT8,
    "GREATER_EQUAL": _INT8_INT16,
    "LEAKY_RELU": {_I16: 2},
    "LESS": _INT8_INT16,
    "LESS_EQUAL": _INT8,
    "LOGISTIC": _INT8_INT16,
    "LOG_SOFTMAX": _INT8,
    "MAXIMUM": _INT8_INT16_LATE,
    "MAX_POOL_2D": _INT8_INT16,
    "MEAN": _INT8_INT16,
    "MINIMUM": _INT8_INT16_LATE,
    "MUL": {_I8: 2, _I16: 4, _I64: 5},
    "PAD": _INT8_INT16,
    "PADV2": _INT8_INT16,
    "REDUCE_MAX": _INT8_INT16,
    "REDUCE_MIN": _INT8_INT16,
    "RELU": {_I8: 2, _U8: 2, _I16: 3},
    "RELU6": _INT8_INT16,
    "RESIZE_BILINEAR": _INT8_INT16_LATE,
    "RESIZE_NEAREST_NEIGHBOR": _INT8_INT16_LATE,
    "SLICE": _INT8_INT16_LATE,
    "SOFTMAX": _INT8_INT16,
    "SPACE_TO_DEPTH": _INT8,
    "SPLIT": {_I8: 2, _I32: 3, _I16: 4},
    "SPLIT_V": _INT8,
    "STRIDED_SLICE": {_I8: 2, _BOOL: 3},
    "SUB": {_I8: 2, _I64: 4, _I16: 5},
    "SUM": _INT8,
    "TANH": _INT8_INT16,
    "TRANSPOSE": {_I8: 2, _BOOL: 3, _I16: 5},
    "TRANSPOSE_CONV": _INT8,
}


def _conv(use: Use) -> int:
    x, weight = use.operand(0).type.shape, use.operand(1)
    grouped = 6 if x[-1] != weight.type.shape[-1] else 1
    hybrid = (5 if weight.per_axis else 2) if use.is_hybrid else 1
    return max(grouped, hybrid, 7 if use.is_packed else 1)


def _depthwise_conv(use: Use) -> int:
    dilated = any(use.options.get(f"dilation{side}Factor", 1) != 1 for side in "HW")
    hybrid = (6 if use.operand(1).per_axis else 4) if use.is_hybrid else 1
    return max(2 if dilated else 1, hybrid, 7 if use.is_packed else 1)


def _fully_connected(use: Use) -> int:
    keeps = 5 if use.options.get("keepNumDims") else 1
    no_bias = 6 if len(use.inputs) < 3 else 1
    if use.operand(1).per_axis and (use.is_hybrid or use.is_packed):
        return 12  # the table has 10 for int4 beside int8, but tflite-runtime 2.14 refuses it
    if not use.is_hybrid:
        return max(keeps, no_bias)
    return max(keeps, no_bias, 9 if use.options.get("asymmetricQuantizeInputs") else 3)


def _transpose_conv(use: Use) -> int:
    if use.options.get("fusedActivationFunction", FlatActivation.NONE):
        return 4
    return 3 if len(use.inputs) == 4 else 1


def _mul(use: Use) -> int:
    scales = [t.params.scale for t in (*use.inputs, use.output) if t is not None and t.params]
    if len(scales) < 3:
        return 1
    return 3 if float(scales[0]) * float(scales[1]) / float(scales[2]) >= 1.0 else 1


def _transpose(use: Use) -> int:
    rank = use.largest_rank
    return 6 if rank > 5 else 4 if rank > 4 else 1


def _high_rank_broadcast(version: int) -> Callable[[Use], int]:
    return lambda use: version if use.broadcasts and use.largest_rank > 4 else 1


def _high_rank(version: int) -> Callable[[Use], int]:
    return lambda use: version if use.largest_rank > 4 else 1


def _resize_bilinear(use: Use) -> int:
    return 3 if use.options.get("halfPixelCenters") else 1


def _resize_nearest(use: Use) -> int:
    return 3 if use.options.get("halfPixelCenters") or use.options.get("alignCorners") else 1


def _quantize(use: Use) -> int:
    return 2 if use.output.type.dtype is DType.INT16 else 1


def _dequantize(use: Use) -> int:
    return 5 if use.operand(0).per_axis else 1


def _cast(use: Use) -> int:
    types = {use.operand(0).type.dtype, use.output.type.dtype}
    rules: tuple[tuple[frozenset[DType], int], ...] = (
        (frozenset({DType.FLOAT64, DType.FLOAT16}), 5),
        (frozenset({DType.UINT16}), 4),
        (frozenset({DType.INT8}), 3),
        (frozenset({DType.UINT32}), 2),
    )
    return next((version for kinds, version in rules if types & kinds), 1)


_EXTRA: Mapping[str, Callable[[Use], int]] = {
    "CAST": _cast,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise_conv,
    "DEQUANTIZE": _dequantize,
    "DIV": _high_rank_broadcast(2),
    "FULLY_CONNECTED": _fully_connected,
    "MAXIMUM": _high_rank_broadcast(3),
    "MINIMUM": _high_rank_broadcast(3),
    "MUL": _mul,
    "PAD": _high_rank(4),
    "PADV2": _high_rank(4),
    "QUANTIZE": _quantize,
    "RESIZE_BILINEAR": _resize_bilinear,
    "RESIZE_NEAREST_NEIGHBOR": _resize_nearest,
    "SLICE": _high_rank(5),
    "STRIDED_SLICE": _high_rank(4),
    "SUB": _high_rank_broadcast(3),
    "TRANSPOSE": _transpose,
    "TRANSPOSE_CONV": _transpose_conv,
}
