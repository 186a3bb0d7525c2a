"""What ONNX Runtime's CPU provider executes in which types.

An integer row exists only where ONNX Runtime really has an integer kernel: every row was
confirmed by reading the graph that it optimises (tests/backends/cpu/test_fusion.py does so
again for the installed version). What it would run as "dequantize, compute in float, quantize"
has no row: such a node costs time and accuracy for nothing, and stays in float.

The CPU provider has no kernel with 16-bit activations (it would emulate them in float), so there
is no row of the recipe ``w8a16``.
"""

from __future__ import annotations

from functools import cache

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import NodeView
from qhal.ir.ops import Activation, Layout
from qhal.quant.spec import (
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
from qhal.target.capability import Arithmetic, Capabilities, Capability, KernelRow, Limit

_FUSION = (
    "onnxruntime/core/optimizer/qdq_transformer/selectors_actions/"
    "qdq_selector_action_transformer.cc; confirmed in the optimised graph of ONNX Runtime 1.31"
)
_KERNEL = "ONNX Runtime docs/OperatorKernels.md; confirmed by running ONNX Runtime 1.31"
_FLOAT_SOURCE = "ONNX Runtime docs/OperatorKernels.md: the CPU provider runs ONNX in float32"
_NBITS_SOURCE = (
    "DequantizeLinear and MatMul become MatMulNBits: "
    "qdq_selector_action_transformer.cc; confirmed in the optimised graph of ONNX Runtime 1.31"
)
_FOLDED_SOURCE = (
    "a stored weight behind Cast (and Mul) is folded to float32 at load; confirmed in the "
    "optimised graph of ONNX Runtime 1.31"
)

UINT8 = QuantSpec(DType.UINT8)
"""Activations. On x86-64 unsigned ones beside signed weights are what VNNI multiplies; signed
ones are turned into unsigned ones at load there (``session.qdqisint8allowed``)."""

INT8_WEIGHT = QuantSpec(DType.INT8, PerAxis(), symmetric=True, narrow_range=True)
INT4_WEIGHT = QuantSpec(DType.INT4, PerGroup(32), symmetric=True, narrow_range=True)

_SIGMOID = FixedQParams(DType.UINT8, 1 / 256, 0)
_TANH = FixedQParams(DType.UINT8, 1 / 128, 128)
_HARD_SIGMOID = FixedQParams(DType.UINT8, 1 / 255, 0)


# --- limits -------------------------------------------------------------------


def _spatial_mean(view: NodeView) -> str | None:
    """The integer mean runs over all spatial dimensions of an activation (N, C, *spatial)."""
    op, rank = view.op, len(view.input().shape)
    assert isinstance(op, ops.Reduce)
    if rank >= 3 and op.axes == tuple(range(2, rank)):
        return None
    return f"it reduces axes {op.axes} of {rank}; all spatial ones are {tuple(range(2, rank))}"


def _nearest(view: NodeView) -> str | None:
    """Integers are resized by nearest neighbour only; linear would cut off fractions."""
    op = view.op
    assert isinstance(op, ops.Resize)
    return None if op.mode == "nearest" else f"mode is {op.mode}, allowed is nearest"


def _rising_sigmoid(view: NodeView) -> str | None:
    """A HardSigmoid in integers has a positive alpha and a positive beta."""
    op = view.op
    assert isinstance(op, ops.HardSigmoid)
    if op.alpha > 0 and op.beta > 0:
        return None
    return f"alpha is {op.alpha:g} and beta {op.beta:g}, both must be positive"


def _wide_enough(view: NodeView) -> str | None:
    """Groups of 32 weights need at least 32 weights per output."""
    depth = view.input(1).shape[1]
    return None if depth >= 32 else f"an output has {depth} weights, at least 32 are needed"


# --- rows ---------------------------------------------------------------------


def _weighted(kind: str) -> tuple[Capability, ...]:
    integer = KernelRow(UINT8, UINT8, INT8_WEIGHT, Derived(), name="uint8 x int8 per axis")
    return (Capability(kind, (integer,), _FUSION), *_stored_weights(kind))


def _stored_weights(kind: str) -> tuple[Capability, ...]:
    """Weights in fewer bits than the float32 in which the node computes, and plain float."""
    half = KernelRow(FLOAT, FLOAT, HALF, HALF, name="float32 x stored float16")
    int8 = KernelRow(FLOAT, FLOAT, INT8_WEIGHT, FLOAT, name="float32 x stored int8")
    plain = KernelRow(FLOAT, FLOAT, FLOAT, FLOAT, name="float32")
    return (
        Capability(kind, (int8, half), _FOLDED_SOURCE),
        Capability(kind, (plain,), _FLOAT_SOURCE),
    )


def _fully_connected() -> tuple[Capability, ...]:
    """Weight-only rows multiply in int8 with activations quantized on the fly per block of 32."""
    int8 = KernelRow(FLOAT, FLOAT, INT8_WEIGHT, FLOAT, name="float32 x int8 (MatMulNBits)")
    int4 = KernelRow(
        FLOAT,
        FLOAT,
        INT4_WEIGHT,
        FLOAT,
        limits=(_wide_enough,),
        name="float32 x int4 in groups of 32 (MatMulNBits)",
    )
    first, *others = _weighted("FullyConnected")
    return (first, Capability("FullyConnected", (int8, int4), _NBITS_SOURCE), *others)


def _integer(
    kind: str,
    output: OutputSpec,
    *limits: Limit,
    source: str = _FUSION,
) -> tuple[Capability, ...]:
    """An integer kernel without weights, and the float one."""
    return (Capability(kind, (KernelRow(UINT8, output),), source, limits), _float(kind))


def _float(kind: str) -> Capability:
    return Capability(kind, (KernelRow(FLOAT, FLOAT, name="float32"),), _FLOAT_SOURCE)


_MOVES = (
    *("Reshape", "Transpose", "Split", "Slice", "Pad", "Gather", "Expand", "Tile"),
    *("MaxPool", "ReduceMax", "ReduceMin", "Relu", "Relu6", "Clip"),
    *("DepthToSpace", "SpaceToDepth"),
)
_FLOAT_ONLY = (
    *("Sub", "Div", "Pow", "Compare", "Abs", "Neg", "Exp", "Log", "Sqrt", "Rsqrt", "Reciprocal"),
    *("Erf", "Sin", "Cos", "Floor", "Ceil", "Round", "Sign", "Softplus", "Not", "Cast"),
    *(
        "Maximum",
        "Minimum",
        "PRelu",
        "Elu",
        "Gelu",
        "LogSoftmax",
        "LayerNorm",
        "InstanceNorm",
        "ReduceSum",
    ),
)
_ACTIVATED = (
    *("Conv", "DepthwiseConv", "ConvTranspose", "FullyConnected"),
    *("Add", "Sub", "Mul", "Div"),
)
_FUSED = frozenset({Activation.NONE, Activation.RELU, Activation.RELU6})


@cache
def capabilities() -> Capabilities:
    """The capabilities of the CPU provider; the same for every processor.

    Silu and HardSwish are absent on purpose: as Sigmoid or HardSigmoid and Mul they run on
    integers, and in float ONNX Runtime fuses them again.
    """
    rows = (
        *_weighted("Conv"),
        *_weighted("DepthwiseConv"),
        *_fully_connected(),
        *_stored_weights("ConvTranspose"),
        *_stored_weights("Lstm"),
        *_stored_weights("Gru"),
        *(row for kind in ("MatMul", "Add", "Mul", "Where") for row in _integer(kind, UINT8)),
        *(row for kind in ("LeakyRelu", "AveragePool", "Concat") for row in _integer(kind, UINT8)),
        *_integer("Sigmoid", _SIGMOID),
        *_integer("Tanh", _TANH),
        *_integer("HardSigmoid", _HARD_SIGMOID, _rising_sigmoid),
        *_integer("Softmax", _SIGMOID),
        *_integer("ReduceMean", UINT8, _spatial_mean),
        *_integer("Resize", SameAsInput(), _nearest, source=_KERNEL),
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
