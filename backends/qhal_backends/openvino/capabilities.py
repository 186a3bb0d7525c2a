"""What OpenVINO's plugins execute in which types, one description for each device.

An integer row reads integers and gives *float*: OpenVINO scales an accumulator to float in the
epilogue of the kernel, applies what follows element by element (bias, SiLU, a residual sum …),
and rounds only where the next kernel reads integers. Rounding between a convolution and its
activation would cost accuracy, and no plugin needs it. So the only other integer rows are those
of data movement.

The rows of the processor were confirmed in the executed graph (tests/backends/openvino does so
again for the installed version). For graphics and NPU they are what OpenVINO's documentation and
sources and NNCF's description of the hardware state; no such device was at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from qhal.ir.dtypes import DType
from qhal.ir.ops import OPERATORS, Activation, Layout
from qhal.targets.capability import Arithmetic, Capabilities, Capability, KernelRow
from qhal.targets.limit import Limit
from qhal.targets.spec import BFLOAT, FLOAT, HALF, PerAxis, PerGroup, QuantSpec, SameAsInput
from qhal_backends.openvino import limits
from qhal_backends.openvino.devices import ALL_BITS, CPU, DEVICES, Device

UINT8 = QuantSpec(DType.UINT8)
UINT8_CHANNELS = QuantSpec(DType.UINT8, PerAxis())
INT8_SYMMETRIC = QuantSpec(DType.INT8, symmetric=True)
INT8_WEIGHT = QuantSpec(DType.INT8, PerAxis(), symmetric=True, narrow_range=True)

_ACTIVATIONS = {"DepthwiseConv": UINT8_CHANNELS, "ConvTranspose": INT8_SYMMETRIC}
"""Where activations are not uint8 with a zero point: a depthwise convolution sums over no
channels, so each may have its own scale; a transposed one has no kernel for a zero point."""

_RULES: Mapping[str, tuple[Limit, ...]] = {
    "ConvTranspose": (
        *(limits.one_group, limits.strides_or_dilations, limits.whole_strides),
        limits.is_covered,
    ),
    "Pad": (limits.zero_padding,),
}
"""What a node must meet to run on integers."""

_NATIVE: Mapping[str, Limit] = {
    "FullyConnected": limits.has_rows,
    "HardSigmoid": limits.slope_is_not_zero,
    "LayerNorm": limits.scale_is_whole,
}
"""What OpenVINO reads or computes otherwise than ONNX says is written in other operators."""

_CONVOLUTIONS = ("Conv", "DepthwiseConv", "ConvTranspose")
_RECURRENT = ("Lstm", "Gru")
_ACTIVATED = tuple(op.__name__ for op in OPERATORS if op.carries_activation())
_FUSED = frozenset({Activation.NONE, Activation.RELU, Activation.RELU6})

_ROUNDED = KernelRow(BFLOAT, FLOAT, BFLOAT, BFLOAT, name="bfloat16")
_BFLOAT16: Mapping[str, KernelRow] = {
    **dict.fromkeys(("Conv", "DepthwiseConv"), _ROUNDED),
    **dict.fromkeys(("FullyConnected", *_RECURRENT), replace(_ROUNDED, bias=FLOAT)),
    "MatMul": replace(_ROUNDED, weight=None, bias=None),
}
"""What multiplies in bfloat16; convolutions round the bias too. Sums are in float32."""

_MOVES = (
    *("Reshape", "Transpose", "Split", "Slice", "Pad", "Gather", "Expand", "Concat"),
    *("MaxPool", "ReduceMax", "ReduceMin", "DepthToSpace"),
)
_FLOAT_ONLY = (
    *("Add", "Sub", "Mul", "Div", "Pow", "Maximum", "Minimum", "Compare", "Where"),
    *("Relu", "Relu6", "Clip", "LeakyRelu", "PRelu", "Elu", "Sigmoid", "Tanh", "HardSwish"),
    *("HardSigmoid", "Silu", "Gelu", "Softmax", "LogSoftmax", "LayerNorm", "InstanceNorm"),
    *("Abs", "Neg", "Exp", "Log", "Sqrt", "Rsqrt", "Reciprocal", "Erf", "Sin", "Cos", "Floor"),
    *("Ceil", "Round", "Sign", "Softplus", "Not", "Cast", "ReduceMean", "ReduceSum", "ArgMax"),
    *("AveragePool", "Resize", "Tile", "SpaceToDepth", "Logical", "ReduceProd", "TopK", "Mod"),
)


@cache
def capabilities(device: str = CPU, weight_bits: int = ALL_BITS) -> Capabilities:
    """State the capabilities of one of :data:`qhal_backends.openvino.devices.DEVICES`.

    Args:
        device: its name.
        weight_bits: of int8 weights with integer activations.
    """
    facts = DEVICES[device]
    weight = INT8_WEIGHT if weight_bits == ALL_BITS else replace(INT8_WEIGHT, bits=weight_bits)
    kernels = (
        *(row for kind in _CONVOLUTIONS for row in _weighted(kind, facts, weight)),
        *_fully_connected(facts, weight),
        *(row for kind in _RECURRENT for row in _stored(kind, facts, bias=FLOAT)),
        Capability(
            "Rnn", (KernelRow(FLOAT, FLOAT, FLOAT, FLOAT, name=facts.float_type),), facts.plain
        ),
        *(_product(facts) if weight_bits == ALL_BITS else _float_product(facts)),
        *(row for kind in _MOVES for row in _moved(kind, facts)),
        *(_float(kind, facts) for kind in _FLOAT_ONLY),
    )
    return Capabilities(
        kernels,
        layout=Layout.NCHW,
        arithmetic=Arithmetic.FLOAT,
        fused=dict.fromkeys(_ACTIVATED, _FUSED),
        native=_NATIVE,
        opaque=limits.means_the_same,
    )


def _weighted(kind: str, facts: Device, weight: QuantSpec) -> tuple[Capability, ...]:
    activation = _ACTIVATIONS.get(kind, UINT8)
    axis = " per axis" if activation.granularity == PerAxis() else ""
    name = f"{activation}{axis} x {weight} per axis -> float"
    rules = _RULES.get(kind, ())
    integer = KernelRow(activation, FLOAT, weight, FLOAT, limits=rules, name=name)
    few = (
        replace(
            integer,
            weight=stored,
            computes=DType.INT8,
            name=f"{activation}{axis} x {stored} per axis -> float",
        )
        for stored in facts.widened
    )
    return (
        Capability(kind, (integer,), facts.integer),
        *((Capability(kind, tuple(few), facts.widening),) if facts.widened else ()),
        *_stored(kind, facts),
    )


def _stored(kind: str, facts: Device, bias: QuantSpec = HALF) -> tuple[Capability, ...]:
    """List rows with weights in fewer bits than the node computes in, bfloat16, and float."""
    int8 = KernelRow(FLOAT, FLOAT, INT8_WEIGHT, FLOAT, name=f"{facts.float_type} x stored int8")
    half = KernelRow(FLOAT, FLOAT, HALF, bias, name=f"{facts.float_type} x float16")
    plain = KernelRow(FLOAT, FLOAT, FLOAT, FLOAT, name=facts.float_type)
    return (
        Capability(kind, (int8,), facts.stored),
        Capability(kind, (half,), facts.half),
        *_bfloat16(kind, facts),
        Capability(kind, (plain,), facts.plain),
    )


def _bfloat16(kind: str, facts: Device) -> tuple[Capability, ...]:
    has = bool(facts.bfloat16) and kind in _BFLOAT16
    return (Capability(kind, (_BFLOAT16[kind],), facts.bfloat16),) if has else ()


def _fully_connected(facts: Device, weight: QuantSpec) -> tuple[Capability, ...]:
    first, *others = _weighted("FullyConnected", facts, weight)
    packed = (
        Capability(
            "FullyConnected", tuple(_packed(w, facts) for w in packed.weights), packed.source
        )
        for packed in facts.packed
    )
    return (first, *packed, *others)


def _packed(weight: QuantSpec, facts: Device) -> KernelRow:
    name = f"{facts.float_type} x {weight}"
    if not isinstance(weight.granularity, PerGroup):
        return KernelRow(FLOAT, FLOAT, weight, FLOAT, name=f"{name} per axis")
    size = weight.granularity.size
    rules = (limits.whole_groups(size),)
    return KernelRow(FLOAT, FLOAT, weight, FLOAT, limits=rules, name=f"{name} in groups of {size}")


def _product(facts: Device) -> tuple[Capability, ...]:
    """List symmetric rows: the plugin has no kernel for a zero point of the second operand."""
    row = KernelRow(INT8_SYMMETRIC, FLOAT, name="int8 x int8 -> float")
    return (Capability("MatMul", (row,), facts.integer), *_float_product(facts))


def _float_product(facts: Device) -> tuple[Capability, ...]:
    return (*_bfloat16("MatMul", facts), _float("MatMul", facts))


def _moved(kind: str, facts: Device) -> tuple[Capability, ...]:
    every = SameAsInput(every=True) if kind == "Concat" else SameAsInput()
    row = KernelRow(UINT8, every, limits=_RULES.get(kind, ()))
    return (Capability(kind, (row,), facts.moves), _float(kind, facts))


def _float(kind: str, facts: Device) -> Capability:
    return Capability(kind, (KernelRow(FLOAT, FLOAT, name=facts.float_type),), facts.plain)
