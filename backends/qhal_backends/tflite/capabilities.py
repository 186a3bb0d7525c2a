"""What LiteRT executes: kernel rows with their limits and sources.

Every row was run on LiteRT 2.3 and on tflite-runtime 2.14 with the reference kernels and with the
optimized ones (tests/backends/tflite/test_tflite_rows.py), but for weights of 4 bits: on LiteRT 2.3
alone. What does not execute them well has no row, see tests/backends/tflite/test_tflite_int4.py:
convolutions, and scales for blocks of weights, which the reference kernels ignore.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from qhal.ir.dtypes import DType
from qhal.ir.ops import Activation, Layout
from qhal.targets.capability import Absence, Arithmetic, Capabilities, Capability, KernelRow
from qhal.targets.limit import Limit
from qhal_backends.tflite import limits as the
from qhal_backends.tflite import rows

KERNELS = "tensorflow/lite/kernels"
VERSIONS = "TensorFlow Lite 2.14 to LiteRT 2.3"

INT4_ROWS = tuple(
    replace(row, limits=(the.depth_is_even,)) for row in (rows.INT4_WEIGHTED, rows.INT4_HYBRID)
)
INT4_SOURCE = f"{KERNELS}/fully_connected.cc; XNNPACK takes it, execution plan of LiteRT 2.3"
NO_INT4 = (
    Absence(
        ("w4a8", "w4"),
        "LiteRT computes int4 convolutions in builtin kernels, never in XNNPACK",
        ("Conv", "DepthwiseConv", "ConvTranspose"),
    ),
    Absence(("w4a16",), "XNNPACK has no kernels with 16-bit activations and int4 weights"),
    Absence(("w3a8", "w2a8"), "LiteRT stores no fewer than 4 bits in a type of qhal"),
)

_FLOAT = (DType.FLOAT32,)
_NUMBERS = (DType.FLOAT32, DType.INT32, DType.INT64)
_ANY = (*_NUMBERS, DType.BOOL)
_RELUS = frozenset({Activation.RELU, Activation.RELU6})

_FUSING = ("Conv", "DepthwiseConv", "ConvTranspose", "FullyConnected", "Add", "Sub", "Mul", "Div")

FUSED = dict.fromkeys(_FUSING, _RELUS)
"""Operators into which the kernels fuse an activation."""


_SPREADING = (
    *("Add", "Sub", "Mul", "Div", "Pow", "Maximum", "Minimum"),
    *("Compare", "Logical", "Where"),
)
"""Operators that broadcast, other than Mod."""


@cache
def capabilities() -> Capabilities:
    """State all kernel rows of the runtime."""
    packed = Capability("FullyConnected", INT4_ROWS, INT4_SOURCE, (the.element_types(_FLOAT),))
    shared = of_whole_bytes()
    return replace(shared, kernels=(*shared.kernels, packed), absent=NO_INT4)


@cache
def of_whole_bytes() -> Capabilities:
    """State the kernel rows that pack no integers: what others who read these files build on."""
    return Capabilities(
        kernels=(
            *_weighted(),
            *_arithmetic(),
            *_functions(),
            *_normalization(),
            *_pooling(),
            *_movement(),
        ),
        layout=Layout.NHWC,
        arithmetic=Arithmetic.FIXED_POINT,
        fused=FUSED,
        native={
            **dict.fromkeys(_SPREADING, the.broadcasts_in_four),
            **dict.fromkeys(("Abs", "Sign"), the.element_types(_FLOAT)),
            "AveragePool": the.padding_counts_or_is_same,
            "ConvTranspose": the.no_dilation,
            "Elu": the.elu_alpha_is_one,
            "Mod": the.follows_divisor,
        },
        opaque="qhal has no LiteRT operator for it",
    )


def _entry(
    op: str,
    file: str,
    kernels: Iterable[KernelRow],
    *limits: Limit,
    types: Iterable[DType] = _FLOAT,
) -> Capability:
    """Make the entry of one operator: its rows, a limit on element types, and its source."""
    source = f"{KERNELS}/{file} ({VERSIONS})"
    return Capability(op, tuple(kernels), source, (the.element_types(types), *limits))


# --- convolutions and products ----------------------------------------------------


def _weighted() -> Iterable[Capability]:
    static = (rows.INT8_WEIGHTED, rows.INT16_WEIGHTED)
    float_rows = (rows.FLOAT16_WEIGHTS, rows.WEIGHTED_FLOAT32)
    windows = (the.plane, the.pads_not_negative)
    dynamic = rows.hybrid(rows.PER_AXIS, (the.no_groups,))
    yield _entry("Conv", "conv.cc", (*static, dynamic, *float_rows), *windows)
    # The dynamic-range kernel of DEPTHWISE_CONV_2D is slower than float, and that of
    # TRANSPOSE_CONV newer than tflite-runtime 2.14.
    stored = (*static, rows.INT8_STORED, *float_rows)
    yield _entry("DepthwiseConv", "depthwise_conv.cc", stored, *windows)
    dense = (the.no_dilation, the.no_groups)
    yield _entry("ConvTranspose", "transpose_conv.cc", stored, *windows, *dense)
    # Per-axis weights of the dynamic-range kernel are version 12, LiteRT only.
    dynamic = rows.hybrid(rows.PER_TENSOR)
    yield _entry("FullyConnected", "fully_connected.cc", (*static, dynamic, *float_rows))
    products = (rows.int8(), rows.int16(), rows.FLOAT32)
    yield _entry("MatMul", "batch_matmul.cc", products, the.rank_between(2, 5))


# --- element-wise, two operands ---------------------------------------------------


def _arithmetic() -> Iterable[Capability]:
    spread = the.broadcasts_in_four
    sums = (rows.int8(scales=rows.INT8_SUM), rows.int16(scales=rows.INT16_SUM), rows.FLOAT32)
    products = (rows.int8(scales=rows.PRODUCT), rows.int16(), rows.FLOAT32)
    yield _entry("Add", "add.cc", sums, spread, types=_NUMBERS)
    yield _entry("Sub", "sub.cc", sums, spread, types=_NUMBERS)
    yield _entry("Mul", "mul.cc", products, spread, types=_NUMBERS)
    yield _entry("Div", "div.cc", (rows.FLOAT32,), spread, types=(DType.FLOAT32, DType.INT32))
    yield _entry("Pow", "pow.cc", (rows.FLOAT32,), spread, types=(DType.FLOAT32, DType.INT32))
    remainder = (spread, the.follows_divisor)
    yield _entry("Mod", "floor_mod.cc", (rows.FLOAT32,), *remainder, types=_NUMBERS)
    shared = (rows.int8(rows.SHARED), rows.int16(rows.SHARED), rows.FLOAT32)
    for op in ("Maximum", "Minimum"):
        yield _entry(op, "maximum_minimum.cc", shared, spread, types=_NUMBERS)
    # The 8-bit kernels are wrong, and end the process in some versions, for scales of 1 and more.
    yield _entry("Compare", "comparisons.cc", (rows.FLOAT32,), spread, types=_ANY)
    booleans = (DType.BOOL,)
    logical = "logical.cc, comparisons.cc"
    yield _entry("Logical", logical, (rows.FLOAT32,), spread, types=booleans)
    yield _entry("Where", "select.cc", shared, spread, types=_ANY)


# --- element-wise, one operand ----------------------------------------------------


def _functions() -> Iterable[Capability]:
    both = (rows.int8(), rows.int16(), rows.FLOAT32)
    eight = (rows.int8(), rows.FLOAT32)
    for op in ("Relu", "Relu6"):
        yield _entry(op, "activations.cc", both)
    yield _entry("LeakyRelu", "activations.cc", both)
    # HARD_SWISH is left out: its 8-bit kernel is scalar, and XNNPACK has none, so that its form
    # of ADD, RELU6 and MUL is five times as fast.
    yield _entry("PRelu", "activations.cc", eight, the.rank_at_most(4))
    yield _entry("Elu", "activations.cc", eight, the.elu_alpha_is_one)
    yield _entry("Gelu", "activations.cc", eight)
    clipped = (rows.int8(rows.MOVED), rows.int16(rows.MOVED), rows.FLOAT32)
    yield _entry("Clip", "maximum_minimum.cc", clipped, types=_NUMBERS)
    for op, fixed in (("Sigmoid", rows.INT8_PROBABILITY), ("Tanh", rows.INT8_TANH)):
        kernels = (rows.int8(fixed), rows.int16(rows.INT16_FRACTION), rows.FLOAT32)
        yield _entry(op, "activations.cc", kernels)
    yield _entry("Abs", "elementwise.cc", both)
    yield _entry("Exp", "exp.cc", eight)
    yield _entry("Neg", "neg.cc", (rows.FLOAT32,), types=_NUMBERS)
    for op in ("Log", "Sqrt", "Rsqrt", "Sin", "Cos"):
        yield _entry(op, "elementwise.cc", (rows.FLOAT32,))
    for op in ("Floor", "Ceil", "Round", "Sign"):
        yield _entry(op, f"{op.lower()}.cc", (rows.FLOAT32,))
    yield _entry("Reciprocal", "div.cc", (rows.FLOAT32,))
    yield _entry("Not", "elementwise.cc", (rows.FLOAT32,), types=(DType.BOOL,))
    yield _cast()


def _cast() -> Capability:
    kinds = (DType.FLOAT32, DType.INT32, DType.INT64, DType.INT8, DType.UINT8, DType.BOOL)
    shifted = rows.int8(rows.INT8_BYTE, (the.casts_bytes_to_float,))
    kernels = (shifted, rows.FLOAT32)
    return _entry("Cast", "cast.cc, quantize.cc", kernels, the.casts_between(kinds), types=kinds)


# --- normalization and reduction --------------------------------------------------


def _normalization() -> Iterable[Capability]:
    softmax = (rows.int8(rows.INT8_PROBABILITY), rows.int16(rows.INT16_FRACTION), rows.FLOAT32)
    along = (the.axis_is_last, the.rank_at_most(4))
    yield _entry("Softmax", "activations.cc", softmax, *along)
    logs = (rows.int8(rows.INT8_LOG_PROBABILITY), rows.FLOAT32)
    yield _entry("LogSoftmax", "activations.cc", logs, *along)
    for op in ("LayerNorm", "InstanceNorm"):
        yield _entry(op, "reduce.cc", (rows.FLOAT32,), the.rank_at_most(4))
    own = (rows.int8(), rows.int16(), rows.FLOAT32)
    yield _entry("ReduceMean", "reduce.cc", own, types=_NUMBERS)
    small = (the.rank_at_most(4),)  # of the MUL behind the MEAN
    summed = (rows.int8(limits=small), rows.int16(limits=small), rows.FLOAT32)
    yield _entry("ReduceSum", "reduce.cc, mul.cc", summed, types=_NUMBERS)
    moved = (rows.int8(rows.MOVED), rows.int16(rows.MOVED), rows.FLOAT32)
    for op in ("ReduceMax", "ReduceMin"):
        yield _entry(op, "reduce.cc", moved, types=_NUMBERS)
    products = (DType.FLOAT32, DType.INT32, DType.INT64)
    yield _entry("ReduceProd", "reduce.cc", (rows.FLOAT32,), types=products)
    yield _entry("TopK", "topk_v2.cc, cast.cc", (rows.FLOAT32,), the.axis_is_last)
    indices = (rows.int8(rows.INDEX), rows.FLOAT32)
    yield _entry("ArgMax", "arg_min_max.cc", indices, types=(DType.FLOAT32, DType.INT32))


# --- pooling and resampling -------------------------------------------------------


def _pooling() -> Iterable[Capability]:
    moved = (rows.int8(rows.MOVED), rows.int16(rows.MOVED), rows.FLOAT32)
    limits = (the.plane, the.pads_not_negative, the.windows_inside)
    yield _entry("MaxPool", "pooling.cc", moved, *limits)
    yield _entry("AveragePool", "pooling.cc", moved, *limits, the.padding_counts_or_is_same)
    file = "resize_bilinear.cc, resize_nearest_neighbor.cc"
    yield _entry("Resize", file, moved, the.plane, the.resize_is_exact)
    eight = (rows.int8(rows.MOVED), rows.FLOAT32)
    yield _entry(
        "DepthToSpace", "depth_to_space.cc", eight, the.plane, the.blocks_come_first, types=_NUMBERS
    )
    yield _entry("SpaceToDepth", "space_to_depth.cc", eight, the.plane, types=_NUMBERS)


# --- data movement ----------------------------------------------------------------


def _movement() -> Iterable[Capability]:
    moved = (rows.int8(rows.MOVED), rows.int16(rows.MOVED), rows.FLOAT32)
    up_to = the.rank_at_most
    yield _entry("Reshape", "reshape.cc", moved, types=_ANY)
    yield _entry("Transpose", "transpose.cc", moved, up_to(6), types=_ANY)
    shared = (rows.int8(rows.SHARED), rows.int16(rows.SHARED), rows.FLOAT32)
    yield _entry("Concat", "concatenation.cc", shared, types=_ANY)
    yield _entry("Split", "split.cc, split_v.cc", moved, types=_NUMBERS)
    yield _entry("Slice", "slice.cc, strided_slice.cc", moved, up_to(5), types=_ANY)
    filled = (the.fill_is_moderate,)
    padded = (rows.int8(rows.MOVED, filled), rows.int16(rows.MOVED, filled), rows.FLOAT32)
    limits = (up_to(5), the.pads_not_negative, the.reflects_inside)
    yield _entry("Pad", "pad.cc, mirror_pad.cc", padded, *limits, types=_NUMBERS)
    yield _entry("Gather", "gather.cc", moved, types=_ANY)
    yield _entry("Expand", "broadcast_to.cc", moved, up_to(8), types=_ANY)
    yield _entry("Tile", "tile.cc", (rows.int8(rows.MOVED), rows.FLOAT32), types=_ANY)
