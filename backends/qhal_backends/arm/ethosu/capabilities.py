"""What an Ethos-U executes, and what Vela leaves on the Cortex-M beside it.

A node that the NPU takes has a row of the main unit; every operator that TensorFlow Lite Micro has
in int8 has a row of the host too. Functions that only the host has, and only in float, run there
between DEQUANTIZE and QUANTIZE, which Vela leaves beside them; so do joins that become outputs.
What makes Vela give up on the whole model has neither: booleans on Ethos-U55 and U65, and
arithmetic on indices.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from qhal.ir.dtypes import DType
from qhal.targets.capability import HOST, Capabilities, Capability, KernelRow
from qhal.targets.limit import Limit
from qhal_backends.arm.cortexm.capabilities import JOIN
from qhal_backends.arm.cortexm.capabilities import capabilities as cortex_m_capabilities
from qhal_backends.arm.ethosu import limits as the
from qhal_backends.tflite import rows
from qhal_backends.tflite.capabilities import FUSED, of_whole_bytes

REPORT = "Vela 5.2, vela --supported-ops-report"
ENCODER = (
    "its weight encoder compresses values, not types: read from the sizes that it reports; int4 "
    "weights of TFLite end its process"
)

Limits = tuple[Limit, ...]
_NO_RULE: Limits = ()
_MEAN: Limits = (the.reduced_axes_are_short, the.mean_has_one_batch, the.mean_over_depth)
_POOL: Limits = (the.kernel_is_small,)
_AVERAGE: Limits = (the.kernel_is_small, the.same_kernel_is_small)
_WEIGHTS: Limits = (the.filters_are_small,)

_BOTH: dict[str, Limits] = {
    "FullyConnected": _WEIGHTS,
    **dict.fromkeys(("Add", "Sub", "Mul", "Maximum", "Minimum"), _NO_RULE),
    **dict.fromkeys(("Relu", "Relu6", "LeakyRelu", "HardSwish", "PRelu", "Elu"), _NO_RULE),
    **dict.fromkeys(("Gelu", "Clip", "Sigmoid", "Tanh", "Abs", "Exp"), _NO_RULE),
    "Softmax": (the.softmax_rows,),
    "ReduceMean": _MEAN,
    "ReduceSum": _MEAN,  # MEAN and MUL
    **dict.fromkeys(("ReduceMax", "ReduceMin"), _NO_RULE),
    **dict.fromkeys(("Reshape", "Concat", "Split", "Tile", "Expand"), _NO_RULE),
    "Cast": _NO_RULE,  # QUANTIZE of bytes
    "Slice": (the.strides_in_height_and_width,),
    "Pad": (the.pads_with_a_constant,),
}
"""Operator -> rules of the tables of all generations."""

_U55: dict[str, Limits] = {
    **_BOTH,
    "Conv": (*_WEIGHTS, the.u55_strides_of_conv),
    "DepthwiseConv": (*_WEIGHTS, the.u55_strides_up_to_three),
    "ConvTranspose": (
        *_WEIGHTS,
        the.u55_strides_of_transposed,
        the.u55_makes_all_windows,
    ),
    "MatMul": (the.u55_product_axes,),
    "MaxPool": (*_POOL, the.u55_strides_of_pool),
    "AveragePool": (*_AVERAGE, the.u55_strides_of_pool),
    "ArgMax": (the.u55_argmax_over_depth,),
    "Resize": (the.u55_resizes_by_powers_of_two,),
    "Transpose": (the.transposed_rank, the.u55_transposes_small_planes),
}

_U85: dict[str, Limits] = {
    **_BOTH,
    **dict.fromkeys(("Conv", "DepthwiseConv", "ConvTranspose"), _WEIGHTS),
    "MatMul": _NO_RULE,
    "MaxPool": _POOL,
    "AveragePool": _AVERAGE,
    "ArgMax": _NO_RULE,
    "Resize": (the.u85_resizes_in_bounds,),
    "Transpose": (the.transposed_rank,),
    "Gather": (the.u85_gathers_along_batch,),
    "Where": _NO_RULE,
}

_WITHOUT_INT16 = frozenset({"Expand"})  # BROADCAST_TO
_WITHOUT_INT16_ON_U55 = frozenset({"MatMul"})
_UNFUSED = frozenset({"ConvTranspose", "Div"})
"""Operators of which Vela does not state that it reads the fused activation."""


_NATIVE_ON_U55 = {"ConvTranspose": the.u55_is_native_transposed}


@cache
def capabilities(is_u85: bool) -> Capabilities:
    """State the rows of the NPU, then those of the Cortex-M beside it.

    Args:
        is_u85: the generation: Ethos-U85, or Ethos-U55 and Ethos-U65.
    """
    tflite = of_whole_bytes()
    rules = _U85 if is_u85 else _U55
    accelerated = [_accelerated(c, rules[c.op], is_u85) for c in tflite.kernels if c.op in rules]
    (rsqrt,) = tflite.of("Rsqrt")
    accelerated.append(_accelerated(replace(rsqrt, rows=(rows.int8(),)), _NO_RULE, is_u85))
    hosted = [
        _on_host(c, is_u85) for c in cortex_m_capabilities().kernels if c.op not in _NOT_ON_HOST
    ]
    compressed = (_compressed(c) for c in accelerated if any(row.weight for row in c.rows))
    return replace(
        tflite,
        kernels=(*accelerated, *compressed, *(c for c in hosted if c.rows)),
        fused={op: kinds for op, kinds in FUSED.items() if op not in _UNFUSED},
        integer_io=True,
        indices=DType.INT32,
        native=tflite.native if is_u85 else {**tflite.native, **_NATIVE_ON_U55},
        opaque="qhal has no TFLite operator for it; this target runs only integer TFLite operators",
    )


_NOT_ON_HOST = frozenset({"Compare", "Where", "Expand"})
"""Operators on booleans, with which Vela fails if they stay on the CPU of an Ethos-U55, and those
that are written as TILE, which TFLite Micro lacks."""


def _accelerated(capability: Capability, limits: Limits, is_u85: bool) -> Capability:
    """List the integer rows of an operator on the NPU."""
    kept = tuple(_integer_rows(capability, is_u85))
    generation = "Ethos-U85" if is_u85 else "Ethos-U55 and Ethos-U65"
    source = f"{REPORT}, {generation} TFLite"
    every = (*capability.limits, the.tensors_have_dimensions, *limits)
    return Capability(capability.op, kept, source, every)


def _integer_rows(capability: Capability, is_u85: bool) -> Iterable[KernelRow]:
    without = _WITHOUT_INT16 if is_u85 else _WITHOUT_INT16 | _WITHOUT_INT16_ON_U55
    for row in capability.rows:
        if row.activation == rows.INT8:
            yield _bounded(capability.op, row, the.LARGEST_INT8_MEAN)
        elif row.activation == rows.INT16 and capability.op not in without:
            yield _bounded(capability.op, row, the.LARGEST_INT16_MEAN)


def _compressed(capability: Capability) -> Capability:
    """List rows with weights of few integers: Vela's weight encoder makes short codes of them."""
    weighted = [row for row in capability.rows if row.weight is not None]
    few = tuple(rows.of_few_levels(row, bits) for row in weighted for bits in (4, 3, 2))
    return replace(capability, rows=few, source=f"{capability.source}; {ENCODER}")


def _bounded(op: str, row: KernelRow, largest: int) -> KernelRow:
    """Add to a row the rule that depends on its type."""
    if op not in ("ReduceMean", "ReduceSum"):
        return row
    return replace(row, limits=(*row.limits, the.reduces_at_most(largest)))


_IN_FLOAT = frozenset({"Cast", "Div", "Log", "Sqrt", "Sin", "Cos", "Floor", "Ceil", "Round"})
"""Operators that run on the host in float: Vela leaves them there, with the conversions around."""


def _on_host(capability: Capability, is_u85: bool) -> Capability:
    """List the rows of an operator that Vela leaves on the Cortex-M, joins in float among them."""
    hosted = tuple(
        replace(row, unit=HOST) for row in capability.rows if _is_hosted(capability.op, row)
    )
    more = () if is_u85 else _HOST_BESIDE_U55.get(capability.op, ())
    return replace(capability, rows=hosted, limits=(*capability.limits, *more))


_HOST_BESIDE_U55: dict[str, Limits] = {"Cast": (the.no_booleans,)}


def _is_hosted(op: str, row: KernelRow) -> bool:
    """Return False for int4 weights: Vela 5.2 ends with signal 8, wherever they would run."""
    if row.weight is not None and row.weight.dtype is DType.INT4:
        return False
    in_float = op in _IN_FLOAT and row.activation == rows.FLOAT32.activation
    return row.activation.dtype is DType.INT8 or row == JOIN or in_float
