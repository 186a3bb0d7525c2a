"""What TensorFlow Lite Micro executes on a Cortex-M, in integers wherever it can.

Every row was run in the interpreter of ``tflite-micro`` (0.dev20261023) and compared with the
oracle and with LiteRT's reference kernels (tests/backends/arm): int8 rows agree in every bit,
int16 rows within one step. The kernels of :data:`CMSIS_NN` have versions that are optimized for
the core's instructions; they compute the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from qhal.ir.dtypes import DType
from qhal.targets.capability import Absence, Capabilities, Capability, KernelRow
from qhal.targets.limit import Limit
from qhal_backends.arm.cortexm import limits as the
from qhal_backends.tflite import limits as tflite_limits
from qhal_backends.tflite import rows
from qhal_backends.tflite.capabilities import of_whole_bytes

MICRO = "tensorflow/lite/micro/kernels"

CMSIS_NN: dict[str, str] = {
    "Add": "add.cc",
    "MatMul": "batch_matmul.cc",
    "Conv": "conv.cc",
    "DepthwiseConv": "depthwise_conv.cc",
    "FullyConnected": "fully_connected.cc",
    **dict.fromkeys(("Maximum", "Minimum"), "maximum_minimum.cc"),
    "Mul": "mul.cc",
    "Pad": "pad.cc",
    **dict.fromkeys(("MaxPool", "AveragePool"), "pooling.cc"),
    "Softmax": "softmax.cc",
    "Transpose": "transpose.cc",
    "ConvTranspose": "transpose_conv.cc",
}
"""Operator -> its file in ``tensorflow/lite/micro/kernels/cmsis_nn``."""

_REFERENCE: dict[str, str] = {
    "Sub": "sub.cc",
    "Compare": "comparisons.cc",
    "Logical": "logical.cc, comparisons.cc",
    "Not": "logical.cc",
    "Where": "select.cc",
    **dict.fromkeys(("Relu", "Relu6"), "activations.cc"),
    "LeakyRelu": "leaky_relu.cc",
    "HardSwish": "hard_swish.cc",
    "PRelu": "prelu.cc",
    "Elu": "elu.cc",
    "Clip": "maximum_minimum.cc",
    "Sigmoid": "logistic.cc",
    "Tanh": "tanh.cc",
    "Abs": "elementwise.cc",
    "Cast": "cast.cc, quantize.cc",
    "ArgMax": "arg_min_max.cc",
    "LogSoftmax": "log_softmax.cc",
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), "reduce.cc"),
    "Resize": "resize_bilinear.cc, resize_nearest_neighbor.cc, gather.cc",
    "DepthToSpace": "depth_to_space.cc",
    "SpaceToDepth": "space_to_depth.cc",
    "Reshape": "reshape.cc",
    "Concat": "concatenation.cc",
    "Split": "split.cc, split_v.cc",
    "Slice": "slice.cc, strided_slice.cc",
    "Gather": "gather.cc",
    "Expand": "broadcast_to.cc",
    **dict.fromkeys(("LayerNorm", "InstanceNorm"), "reduce.cc, elementwise.cc"),
    "Div": "div.cc",
    "Exp": "exp.cc",
    "Neg": "neg.cc",
    **dict.fromkeys(("Log", "Sqrt", "Rsqrt", "Sin", "Cos"), "elementwise.cc"),
    **{op: f"{op.lower()}.cc" for op in ("Floor", "Ceil", "Round")},
}
"""Operator -> its file in ``tensorflow/lite/micro/kernels``, where CMSIS-NN has no version."""

_LIMITS: dict[str, tuple[Limit, ...]] = {
    "Concat": (the.joins_few,),
    "Softmax": (the.softmax_is_narrow,),
    "Slice": (the.strides_in_four_dimensions,),
    "Gather": (the.indices_are_short,),
    "ArgMax": (the.result_is_short,),
    "MatMul": (the.multiplies_in_four_dimensions,),
}

_INT8_LIMITS: dict[str, tuple[Limit, ...]] = {"Pad": (the.pads_four_dimensions,)}

_INT4_LIMITS: dict[str, tuple[Limit, ...]] = {
    "Conv": (tflite_limits.no_groups,),
    "DepthwiseConv": (the.nibbles_come_in_pairs,),
}
"""Rules for weights of 4 bits. CMSIS-NN's arm_convolve_s4 reads all channels for each output,
whatever the reference kernel makes of groups."""

NO_INT4 = (
    Absence(
        ("w4a8",),
        "TFLite Micro has int4 kernels for CONV_2D and DEPTHWISE_CONV_2D only",
        ("ConvTranspose", "FullyConnected"),
    ),
    Absence(("w4a16",), "TFLite Micro multiplies int4 weights with 8-bit activations only"),
    Absence(("w3a8", "w2a8"), "TFLite Micro packs weights in no fewer than 4 bits"),
)

_INT16_LIMITS: dict[str, tuple[Limit, ...]] = {"Pad": (the.pads_with_a_constant,)}
_WITHOUT_INT8 = frozenset({"Exp"})
_WITHOUT_INT16 = frozenset({"ReduceMax", "ReduceMin", "Resize", "Gather"})

_INT32_AND_BOOL = (DType.INT32, DType.BOOL)
_ON_INT32 = frozenset(
    {"Add", "Sub", "Mul", "Maximum", "Minimum", "Compare", "Reshape", "Concat", "Split"}
    | {"Slice", "Expand", "Logical", "Not"}
)
"""Operators whose kernels were seen to take booleans or int32, the type of indices and counts."""

_IN_FLOAT = frozenset(
    {"Compare", "LayerNorm", "InstanceNorm", "Div", "Exp", "Neg", "Log", "Sqrt", "Rsqrt"}
    | {"Sin", "Cos", "Floor", "Ceil", "Round", "Cast", "ArgMax"}
)
"""Operators that have no integer kernel, or a coarse one: they run in float, between DEQUANTIZE and
QUANTIZE, on the core's floating point unit if it has one."""

_CAST = (DType.FLOAT32, DType.INT32, DType.INT8, DType.BOOL)

_FLOAT_LIMITS: dict[str, tuple[Limit, ...]] = {
    "Cast": (tflite_limits.casts_between(_CAST),),
    "ArgMax": (tflite_limits.element_types((DType.FLOAT32,)),),
}


@cache
def capabilities() -> Capabilities:
    """State all integer rows, and float rows of operators without an integer kernel."""
    tflite = of_whole_bytes()
    kept = (_kept(c) for c in tflite.kernels if c.op in CMSIS_NN or c.op in _REFERENCE)
    return replace(
        tflite,
        kernels=tuple(c for c in kept if c.rows),
        native={
            **tflite.native,
            "Concat": the.joins_few,
            "FullyConnected": the.rounds_as_litert_does,
        },
        integer_io=True,
        indices=DType.INT32,
        absent=NO_INT4,
        opaque="qhal has no TensorFlow Lite Micro operator for it",
    )


def _kept(capability: Capability) -> Capability:
    """Keep the integer rows of LiteRT's entry that TensorFlow Lite Micro has too."""
    op = capability.op
    file = f"cmsis_nn/{CMSIS_NN[op]}" if op in CMSIS_NN else _REFERENCE[op]
    return Capability(
        op,
        tuple(_rows(capability)),
        f"{MICRO}/{file} (tflite-micro 0.dev20261023)",
        (*capability.limits, *_LIMITS.get(op, ())),
    )


def _rows(capability: Capability) -> Iterable[KernelRow]:
    op = capability.op
    for row in capability.rows:
        if row.activation == rows.INT8 and op not in _WITHOUT_INT8:
            yield replace(row, limits=(*row.limits, *_INT8_LIMITS.get(op, ())))
        elif row.activation == rows.INT16 and op not in _WITHOUT_INT16:
            yield replace(row, limits=(*row.limits, *_INT16_LIMITS.get(op, ())))
    if op in _INT4_LIMITS:
        yield replace(rows.INT4_WEIGHTED, limits=_INT4_LIMITS[op])
    if op in _IN_FLOAT:
        yield replace(rows.FLOAT32, limits=_FLOAT_LIMITS.get(op, ()))
    elif op in _ON_INT32:
        yield ON_INTEGERS
    if op in tflite_limits.JOINED_IN_FLOAT:
        yield JOIN


ON_INTEGERS = replace(
    rows.FLOAT32, limits=(tflite_limits.element_types(_INT32_AND_BOOL),), name="integers"
)
"""Indices and booleans, which are not quantized and never float."""

JOIN = replace(rows.FLOAT32, limits=(tflite_limits.joins_outputs,), name="float32 join")
"""The join of outputs that one scale cannot serve."""
