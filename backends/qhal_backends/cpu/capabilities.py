"""What ONNX Runtime's CPU provider executes in which types.

An integer row exists only where ONNX Runtime really has an integer kernel: every row was
confirmed by reading the graph that it optimizes (tests/backends/cpu/test_cpu_fusion.py does so
again for the installed version). What it would run as "dequantize, compute in float, quantize"
has no row: such a node costs time and accuracy for nothing, and stays in float.

The CPU provider has no kernel with 16-bit activations (it would emulate them in float), so there
is no row of the recipe ``w8a16``.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from qhal.ir.dtypes import DType
from qhal.ir.ops import OPERATORS, Activation, Layout
from qhal.targets.capability import Arithmetic, Capabilities, Capability, KernelRow
from qhal.targets.limit import Limit
from qhal.targets.spec import (
    FLOAT,
    HALF,
    Derived,
    FixedQParams,
    OutputSpec,
    PerAxis,
    PerGroup,
    QuantSpec,
    SameAsInput,
)
from qhal_backends.cpu import limits

_FUSION = (
    "onnxruntime/core/optimizer/qdq_transformer/selectors_actions/"
    "qdq_selector_action_transformer.cc; confirmed in the optimized graph of ONNX Runtime 1.31"
)
_KERNEL = "ONNX Runtime docs/OperatorKernels.md; confirmed by running ONNX Runtime 1.31"
_FLOAT_SOURCE = "ONNX Runtime docs/OperatorKernels.md: the CPU provider runs ONNX in float32"
_NBITS_SOURCE = (
    "ONNX Runtime docs/ContribOperators.md, MatMulNBits; confirmed by running it: 4 bits with "
    "ONNX Runtime 1.20 to 1.31, 8 bits with 1.22 to 1.31"
)
_FOLDED_SOURCE = (
    "a stored weight behind Cast (and Mul) is folded into float32 at load time; confirmed in the "
    "optimized graph of ONNX Runtime 1.31"
)
_CAST_SOURCE = (
    "confirmed by running it: Cast of int4 with ONNX Runtime 1.23 to 1.32, of int2 with 1.24 to "
    "1.32; without the Cast, 1.32 multiplies int4 in float and refuses int2 as an invalid graph"
)
_WIDENED_SOURCE = (
    "a Cast of an initializer to int8 is folded at load time, then the QDQ selectors find an int8 "
    f"weight; confirmed in the optimized graph of ONNX Runtime 1.32; {_CAST_SOURCE}"
)

UINT8 = QuantSpec(DType.UINT8)
"""Activations. Unsigned ones beside signed weights are what VNNI multiplies; with signed ones
the models of the zoo took 1.3 to 4.2 times as long (ONNX Runtime 1.31, AVX512-VNNI)."""

INT8_WEIGHT = QuantSpec(DType.INT8, PerAxis(), symmetric=True, narrow_range=True)
INT4_WEIGHT = QuantSpec(DType.INT4, PerAxis(), symmetric=True)
FEW_BITS = (
    (INT4_WEIGHT, limits.casts_int4),
    (replace(INT4_WEIGHT, bits=3), limits.casts_int4),
    (replace(INT4_WEIGHT, dtype=DType.INT2), limits.casts_int2),
)
"""Weights that are stored in few bits and widened when the model is loaded, and what that takes."""
INT8_GROUPS = QuantSpec(DType.INT8, PerGroup(32), symmetric=True, narrow_range=True)
INT4_GROUPS = QuantSpec(DType.INT4, PerGroup(32), symmetric=True, narrow_range=True)

_UNIT_INTERVAL = FixedQParams(DType.UINT8, 1 / 256, 0)
_TANH = FixedQParams(DType.UINT8, 1 / 128, 128)
_HARD_SIGMOID = FixedQParams(DType.UINT8, 1 / 255, 0)

# --- rows ---------------------------------------------------------------------


def _weighted(kind: str) -> tuple[Capability, ...]:
    integer = KernelRow(UINT8, UINT8, INT8_WEIGHT, Derived(), name="uint8 x int8 per axis")
    few = tuple(
        KernelRow(
            *(UINT8, UINT8, weight, Derived()),
            limits=(rule,),
            name=f"uint8 x {weight} per axis",
            computes=DType.INT8,
        )
        for weight, rule in FEW_BITS
    )
    return (
        Capability(kind, (integer,), _FUSION),
        Capability(kind, few, _WIDENED_SOURCE),
        *_stored_weights(kind),
    )


def _stored_weights(kind: str, half_bias: QuantSpec = HALF) -> tuple[Capability, ...]:
    """List rows with weights in fewer bits than the float32 of the node, and plain float."""
    half = KernelRow(FLOAT, FLOAT, HALF, half_bias, name="float32 x stored float16")
    int8 = KernelRow(FLOAT, FLOAT, INT8_WEIGHT, FLOAT, name="float32 x stored int8")
    int4 = KernelRow(
        *(FLOAT, FLOAT, INT4_WEIGHT, FLOAT),
        limits=(limits.casts_int4,),
        name="float32 x int4 per axis",
        computes=DType.FLOAT32,
    )
    plain = KernelRow(FLOAT, FLOAT, FLOAT, FLOAT, name="float32")
    return (
        Capability(kind, (int8, half), _FOLDED_SOURCE),
        Capability(kind, (int4,), f"{_FOLDED_SOURCE}; {_CAST_SOURCE}"),
        Capability(kind, (plain,), _FLOAT_SOURCE),
    )


def _fully_connected() -> tuple[Capability, ...]:
    """List the rows of matrix products; grouped weights take activations quantized on the fly."""
    groups = tuple(
        KernelRow(FLOAT, FLOAT, spec, FLOAT, "", (rule,), f"float32 x {spec} in groups of 32")
        for spec, rule in (
            (INT8_GROUPS, limits.wide_for_bytes),
            (INT4_GROUPS, limits.wide_for_nibbles),
        )
    )
    whole, few, *others = _weighted("FullyConnected")
    nbits = Capability("FullyConnected", groups, _NBITS_SOURCE)
    return (whole, few, nbits, *others)


def _integer(
    kind: str,
    output: OutputSpec,
    *rules: Limit,
    source: str = _FUSION,
) -> tuple[Capability, ...]:
    """List an integer kernel without weights, and the float one."""
    return (Capability(kind, (KernelRow(UINT8, output),), source, rules), _float(kind))


def _concat() -> tuple[Capability, ...]:
    """List a row that copies operands of one scale, then one that rescales by QLinearConcat.

    Sharing was faster and not worse: squeezenet1_1 1.68 against 1.95 ms and 35.2 against 34.4 dB,
    yolox_nano the same within 2 %.
    """
    shared = KernelRow(UINT8, SameAsInput(every=True), limits=(limits.not_chained,))
    free = KernelRow(UINT8, UINT8)
    return (
        Capability("Concat", (shared,), _KERNEL),
        Capability("Concat", (free,), _FUSION),
        _float("Concat"),
    )


def _float(kind: str) -> Capability:
    return Capability(kind, (KernelRow(FLOAT, FLOAT, name="float32"),), _FLOAT_SOURCE)


_COMPUTES = ("MatMul", "Add", "Mul", "Where", "LeakyRelu", "AveragePool")
_MOVES = (
    *("Reshape", "Transpose", "Split", "Slice", "Pad", "Gather", "Expand", "Tile"),
    *("MaxPool", "ReduceMax", "ReduceMin", "Relu", "Relu6", "Clip"),
    *("DepthToSpace", "SpaceToDepth"),
)
_FLOAT_ONLY = (
    *("Sub", "Div", "Pow", "Compare", "Abs", "Neg", "Exp", "Log", "Sqrt", "Rsqrt", "Reciprocal"),
    *("Erf", "Sin", "Cos", "Floor", "Ceil", "Round", "Sign", "Softplus", "Not", "Cast"),
    *("Silu", "Gelu", "PRelu", "Elu", "LogSoftmax", "LayerNorm", "InstanceNorm", "ReduceSum"),
    *("Maximum", "Minimum", "Logical", "ReduceProd", "TopK", "Mod"),
)
_ACTIVATED = tuple(op.__name__ for op in OPERATORS if op.carries_activation())
_FUSED = frozenset({Activation.NONE, Activation.RELU, Activation.RELU6})


@cache
def capabilities() -> Capabilities:
    """State the capabilities of the CPU provider; the same for every processor.

    HardSwish is absent on purpose: as HardSigmoid and Mul it runs on integers, which was faster
    than the detour through float (ppocr_cls 0.71 against 0.81 ms, and 4 dB better). Silu was
    faster through float (yolox_nano 6.75 against 7.77 ms): one QuickGelu in place of a table
    look-up and a QLinearMul.
    """
    rows = (
        *_weighted("Conv"),
        *_weighted("DepthwiseConv"),
        *_fully_connected(),
        *_stored_weights("ConvTranspose"),
        *_stored_weights("Lstm", FLOAT),
        *_stored_weights("Gru", FLOAT),
        *_stored_weights("Rnn", FLOAT),
        *(row for kind in _COMPUTES for row in _integer(kind, UINT8)),
        *_concat(),
        *_integer("Sigmoid", _UNIT_INTERVAL),
        *_integer("Tanh", _TANH),
        *_integer("HardSigmoid", _HARD_SIGMOID, limits.rising_sigmoid),
        *_integer("Softmax", _UNIT_INTERVAL),
        *_integer("ReduceMean", UINT8, limits.spatial_mean),
        *_integer("Resize", SameAsInput(), limits.nearest, source=_KERNEL),
        *_integer("ArgMax", UINT8, source=_KERNEL),
        *(row for kind in _MOVES for row in _integer(kind, SameAsInput(), source=_KERNEL)),
        *map(_float, _FLOAT_ONLY),
    )
    return Capabilities(
        rows,
        layout=Layout.NCHW,
        arithmetic=Arithmetic.FLOAT,
        fused=dict.fromkeys(_ACTIVATED, _FUSED),
        opaque=None,
    )
