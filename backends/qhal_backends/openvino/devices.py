"""The devices of OpenVINO, and where the facts about each come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qhal.errors import CatalogError
from qhal.ir.dtypes import DType
from qhal.targets.profile import TargetProfile
from qhal.targets.spec import PerAxis, PerGroup, QuantSpec

DEVICE = "device"
"""Option of a profile that names its device."""

CPU, GPU, NPU = "CPU", "GPU", "NPU"

WEIGHT_BITS = "weight_bits"
"""Option of a profile of a processor: so many bits of int8 weights are used, 7 or 8.

With 7 the sum of two products of bytes, at most 2 * 255 * 63, fits 16 bits: without VNNI larger
ones saturate (:mod:`qhal_backends.openvino.saturating_sums`).
"""
ALL_BITS = DType.INT8.bits
_NARROW_BITS = 7

_INT8_GROUPS = QuantSpec(DType.INT8, PerGroup(32), symmetric=True, narrow_range=True)
_INT4_GROUPS = QuantSpec(DType.INT4, PerGroup(32), symmetric=True, narrow_range=True)
_INT4_WIDE_GROUPS = QuantSpec(DType.INT4, PerGroup(128), symmetric=True, narrow_range=True)
_INT4_CHANNELS = QuantSpec(DType.INT4, PerAxis(), symmetric=True, narrow_range=True)
_FEW_BITS = (
    QuantSpec(DType.INT4, PerAxis(), symmetric=True),
    QuantSpec(DType.INT4, PerAxis(), symmetric=True, bits=3),
    QuantSpec(DType.INT2, PerAxis(), symmetric=True),
)
_NF4_GROUPS = QuantSpec(DType.NF4, PerGroup(32), symmetric=True)
_NF4_CHANNELS = QuantSpec(DType.NF4, PerAxis(), symmetric=True)


@dataclass(frozen=True)
class Packed:
    """Weights of fully-connected layers that stay packed until they are multiplied.

    Attributes:
        weights: what they may look like, in order of preference.
        source: where that comes from.
    """

    weights: tuple[QuantSpec, ...]
    source: str


@dataclass(frozen=True)
class Device:
    """Facts about one device, most of them the sources of its rows.

    Attributes:
        float_type: the type in which its float kernels compute.
        integer: of kernels on integer activations and weights.
        moves: of data movement on integers.
        packed: narrow weights of fully-connected layers.
        widened: weights of few bits that are widened to int8 once, at load time, per channel.
        widening: of these.
        stored: of weights that are stored as integers, one scale per output channel.
        half: of weights that are stored in float16.
        bfloat16: of kernels that multiply in bfloat16; empty if the device has none.
        plain: of float kernels.
    """

    float_type: str
    integer: str
    moves: str
    packed: tuple[Packed, ...]
    widened: tuple[QuantSpec, ...]
    widening: str
    stored: str
    half: str
    bfloat16: str
    plain: str


_IR = "OpenVINO documentation, Weight Compression: integer weights are unpacked by the plugin"
_GRAPH = "confirmed in the executed graph of OpenVINO 2026.4"
_WIDENING = (
    f"{_GRAPH}: i4 or u2 behind Convert to i8, in which zero is subtracted from u2, is folded at "
    "load time in front of *_I8 kernels; without this Convert it multiplies in float, "
    "and refuses a MatMul with u2 when it compiles for bfloat16"
)
_ON_NPU = "OpenVINO 2025 documentation, OpenVINO GenAI on NPU"

# Graphics convert bfloat16 to another float (the same file, fp_precision_supported); an NPU reads
# it and computes in float16. Neither multiplies in it, so neither has a row.
DEVICES: Mapping[str, Device] = {
    CPU: Device(
        float_type="float32",
        integer=(
            "Core.get_property('CPU', OPTIMIZATION_CAPABILITIES) has INT8; confirmed in the "
            "executed graph of OpenVINO 2026.4: *_I8 kernels; NNCF 3.4 setups/cpu.py: q8_a x "
            "q8_w_sym"
        ),
        moves=_GRAPH,
        packed=(
            Packed(
                (_INT8_GROUPS, _INT4_GROUPS, _NF4_GROUPS),
                f"{_GRAPH}: FullyConnected reads i8, i4 and nf4 weights; weights of one output "
                "are unpacked once, at load time",
            ),
        ),
        widened=_FEW_BITS,
        widening=_WIDENING,
        stored=f"{_GRAPH}: unpacked once, at load time; FullyConnected reads i8 weights",
        half=f"{_GRAPH}: unpacked once, at load time",
        bfloat16=(
            "Core.get_property('CPU', OPTIMIZATION_CAPABILITIES) has BF16 if the processor does; "
            f"{_GRAPH}: *_bf16 kernels with INFERENCE_PRECISION_HINT=bf16, except ConvTranspose"
        ),
        plain="Core.get_property('CPU', OPTIMIZATION_CAPABILITIES) has FP32",
    ),
    GPU: Device(
        float_type="float16",
        integer=(
            "OpenVINO documentation, GPU device: u8 and i8 are data types of quantized models; "
            "NNCF 3.4 setups/gpu.py: q8_a x q8_w_sym"
        ),
        moves="NNCF 3.4 setups/gpu.py: quantizers pass through it",
        packed=(
            Packed(
                (_INT8_GROUPS, _INT4_GROUPS),
                "OpenVINO 2025, src/plugins/intel_gpu/src/plugin/transformations_pipeline.cpp: "
                "u8, i8, u4 and i4 weights stay compressed (nf4 is no type of the plugin)",
            ),
        ),
        widened=(),
        widening="",
        stored=_IR,
        half="OpenVINO documentation, GPU device: f16 is a floating-point data type",
        bfloat16="",
        plain="OpenVINO documentation, GPU device: f16 is the default inference precision",
    ),
    NPU: Device(
        float_type="float16",
        integer=(
            "OpenVINO documentation, NPU device: quantized U8 models; NNCF 3.4 setups/npu.py: "
            "q8_a x q8_w_sym"
        ),
        moves="NNCF 3.4 setups/npu.py: quantizers pass through it",
        packed=(
            Packed(
                (_INT4_WIDE_GROUPS, _INT4_CHANNELS),
                f"{_ON_NPU}: symmetric INT4, channel-wise or in groups of 128",
            ),
            Packed(
                (_NF4_CHANNELS,),
                f"{_ON_NPU}: NF4, channel-wise only, from Core Ultra Series 2 on",
            ),
        ),
        widened=(),
        widening="",
        stored=_IR,
        half="OpenVINO documentation, NPU device: FP16 models",
        bfloat16="",
        plain="OpenVINO documentation, NPU device: FP16 is the computation precision of the HW",
    ),
}


def weight_bits_of(target: TargetProfile) -> int:
    """Return the bits of int8 weights in integer kernels: 8, unless the target's option says 7.

    Raises:
        CatalogError: the option is another number, or that of no processor.
    """
    asked = target.options.get(WEIGHT_BITS, str(ALL_BITS))
    allowed = (ALL_BITS, _NARROW_BITS) if device_of(target) == CPU else (ALL_BITS,)
    if asked in map(str, allowed):
        return int(asked)
    raise CatalogError(
        f"{target.origin}: targets.{target.name}.options.{WEIGHT_BITS} is {asked!r}.",
        f"Use {ALL_BITS}, or for {CPU} also {_NARROW_BITS}.",
    )


def device_of(target: TargetProfile) -> str:
    """Return the device that a target names in its option ``device``.

    Raises:
        CatalogError: the option is missing or no device of OpenVINO.
    """
    device = target.options.get(DEVICE, "")
    if device not in DEVICES:
        raise CatalogError(
            f"{target.origin}: targets.{target.name}.options.{DEVICE} is {device!r}.",
            f"Use a device of OpenVINO: {', '.join(DEVICES)}.",
        )
    return device
