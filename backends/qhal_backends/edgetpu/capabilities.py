"""What the Edge TPU executes, and what its compiler leaves on the host.

Nothing is in float but joins that become outputs. A node that the Edge TPU runs has a row of the
main unit. Every operator that TFLite has in int8 has a row of the host too, if the compiler can
read it: a single operator of a version that the compiler does not know makes it give up on the
whole model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from qhal.targets.capability import HOST, Absence, Capabilities, Capability, KernelRow
from qhal.targets.limit import Limit
from qhal_backends.edgetpu import limits as the
from qhal_backends.tflite import limits as tflite_limits
from qhal_backends.tflite import rows
from qhal_backends.tflite.capabilities import FUSED, of_whole_bytes

CORAL = "coral.ai, TensorFlow models on the Edge TPU (edgetpu_compiler 16.0)"

FEW_BITS = Absence(
    ("w4a8", "w3a8", "w2a8"),
    "its compiler reads only int8 weights and does not compress them, so that few values save "
    "nothing",
)

UNREADABLE = frozenset({"Exp", "Gelu"})
"""Operators whose int8 kernels are newer than the compiler (EXP 2: TF 2.12; GELU: TF 2.9)."""

REWRITTEN = frozenset({"LeakyRelu"})
"""Operators of which the core has a form that the Edge TPU takes whole (here PRELU)."""


@cache
def capabilities() -> Capabilities:
    """State the rows of the Edge TPU, then those of the host."""
    tflite = of_whole_bytes()
    by_op = {capability.op: capability for capability in tflite.kernels}
    accelerated = [_accelerated(by_op[op], limits) for op, limits in _TPU.items()]
    limits = (*by_op["Rsqrt"].limits, the.three_innermost)
    accelerated.append(Capability("Rsqrt", (rows.int8(),), CORAL, limits))
    fallbacks = tuple(c for c in map(_on_host, tflite.kernels) if c.rows)
    fused = {op: kinds for op, kinds in FUSED.items() if op not in _UNFUSED}
    return replace(
        tflite,
        kernels=(*accelerated, *fallbacks),
        fused=fused,
        native={**tflite.native, "FullyConnected": the.one_row},
        integer_io=True,
        opaque="qhal has no TFLite operator for it; this target runs only int8 TFLite operators",
        absent=(FEW_BITS,),
    )


_UNFUSED = frozenset({"ConvTranspose"})
"""See :func:`qhal_backends.edgetpu.limits.not_fused`."""

_READABLE: dict[str, tuple[Limit, ...]] = {"ConvTranspose": (the.not_fused,)}
"""Rules for what the compiler can read at all, on the host too."""

_NO_RULE: tuple[Limit, ...] = ()
_CONVOLUTION: tuple[Limit, ...] = (the.same_dilation,)
_REDUCTION: tuple[Limit, ...] = (the.reduces_no_batch,)

_TPU: dict[str, tuple[Limit, ...]] = {
    "Conv": _CONVOLUTION,
    "DepthwiseConv": _CONVOLUTION,
    "ConvTranspose": (*_CONVOLUTION, the.not_fused),
    "FullyConnected": (the.one_row,),  # several rows become a convolution
    "Add": _NO_RULE,
    "Sub": _NO_RULE,
    "Mul": _NO_RULE,
    "Maximum": _NO_RULE,
    "Minimum": _NO_RULE,
    "Clip": _NO_RULE,  # MAXIMUM and MINIMUM
    "Relu": _NO_RULE,
    "Relu6": _NO_RULE,
    "PRelu": (the.slope_is_innermost,),
    "Sigmoid": _NO_RULE,
    "Tanh": _NO_RULE,
    "Softmax": (the.softmax_is_small,),
    "ReduceMean": (*_REDUCTION, the.depth_is_multiple),
    "ReduceSum": (*_REDUCTION, the.depth_is_multiple),  # MEAN and MUL
    "ReduceMax": _REDUCTION,
    "ReduceMin": _REDUCTION,
    "MaxPool": (the.pads_without_lowest,),
    "AveragePool": _NO_RULE,
    "Cast": _NO_RULE,  # QUANTIZE of bytes
    "Resize": (the.resizes_in_a_known_mode,),
    "SpaceToDepth": _NO_RULE,
    "Reshape": _NO_RULE,
    "Transpose": _NO_RULE,
    "Concat": (the.constants_are_zeros,),
    "Split": _NO_RULE,  # SPLIT; uneven parts are written as slices
    "Slice": (the.strides_in_height_and_width,),
    "Pad": (the.pads_no_batch, the.pads_with_zero),
}
"""Operator -> rules of the table. No fused activation stands behind pools and Concat in TFLite."""


def _accelerated(capability: Capability, limits: tuple[Limit, ...]) -> Capability:
    """List the int8 rows of an operator on the Edge TPU."""
    every = (*capability.limits, the.three_innermost, *limits)
    return Capability(capability.op, tuple(_int8_rows(capability)), CORAL, every)


def _on_host(capability: Capability) -> Capability:
    """List the rows of an operator that the compiler leaves on the host's processor."""
    if capability.op in UNREADABLE | REWRITTEN:
        return replace(capability, rows=())
    hosted = [replace(r, unit=HOST, name=f"{r.name} on the host") for r in _int8_rows(capability)]
    if hosted or capability.op in _INTEGER_ONLY:
        hosted.append(ON_INTEGERS)
    if capability.op in tflite_limits.JOINED_IN_FLOAT:
        hosted.append(JOIN)
    limits = (*capability.limits, *_READABLE.get(capability.op, ()))
    return replace(capability, rows=tuple(hosted), limits=limits)


def _int8_rows(capability: Capability) -> Iterable[KernelRow]:
    for row in capability.rows:
        if row.activation == rows.INT8:
            yield PER_TENSOR if capability.op == "FullyConnected" else row


PER_TENSOR = replace(rows.INT8_WEIGHTED, weight=rows.PER_TENSOR, name="int8 per-tensor")
"""FULLY_CONNECTED has one scale per weight in the specification that the compiler follows."""

ON_INTEGERS = replace(
    rows.FLOAT32,
    unit=HOST,
    limits=(the.integers_only,),
    name="integers on the host",
)
"""Indices and booleans, which are not quantized and never float."""

JOIN = replace(
    rows.FLOAT32,
    unit=HOST,
    limits=(tflite_limits.joins_outputs,),
    name="float32 on the host",
)
"""The join of outputs that one scale cannot serve. The compiler leaves float operators on the host,
as it did with SQRT and DIV of google-coral/test_data/movenet_single_pose_lightning_ptq."""

_INTEGER_ONLY = frozenset({"Cast", "Not"})
