"""The devices of OpenVINO, and where the facts about each come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qhal.errors import CatalogueError
from qhal.target.profile import TargetProfile

CPU, GPU, NPU = "CPU", "GPU", "NPU"


@dataclass(frozen=True)
class Device:
    """Sources of the rows of one device.

    Attributes:
        float_type: the type in which its float kernels compute.
        integer: of kernels on integer activations and weights.
        moves: of data movement on integers.
        stored: of weights that are stored as integers, one scale per output channel.
        groups: of weights in groups.
        half: of weights that are stored in float16.
        plain: of float kernels.
    """

    float_type: str
    integer: str
    moves: str
    stored: str
    groups: str
    half: str
    plain: str


_IR = "OpenVINO documentation, Weight Compression: integer weights are unpacked by the plugin"

DEVICES: Mapping[str, Device] = {
    CPU: Device(
        float_type="float32",
        integer=(
            "Core.get_property('CPU', OPTIMIZATION_CAPABILITIES) has INT8; confirmed in the "
            "executed graph of OpenVINO 2026.4: *_I8 kernels; NNCF 3.4 setups/cpu.py: q8_a x "
            "q8_w_sym"
        ),
        moves="confirmed in the executed graph of OpenVINO 2026.4",
        stored="confirmed in the executed graph of OpenVINO 2026.4: unpacked once, at load",
        groups=(
            "confirmed in the executed graph of OpenVINO 2026.4: FullyConnected with i4 weights"
        ),
        half="confirmed in the executed graph of OpenVINO 2026.4: unpacked once, at load",
        plain="Core.get_property('CPU', OPTIMIZATION_CAPABILITIES) has FP32",
    ),
    GPU: Device(
        float_type="float16",
        integer=(
            "OpenVINO documentation, GPU device: u8 and i8 are data types of quantized models; "
            "NNCF 3.4 setups/gpu.py: q8_a x q8_w_sym"
        ),
        moves="NNCF 3.4 setups/gpu.py: quantizers pass through it",
        stored=_IR,
        groups="OpenVINO documentation, 4-bit weight quantization: i4 and u4 in groups on GPU",
        half="OpenVINO documentation, GPU device: f16 is a floating-point data type",
        plain="OpenVINO documentation, GPU device: f16 is the default inference precision",
    ),
    NPU: Device(
        float_type="float16",
        integer=(
            "OpenVINO documentation, NPU device: quantized U8 models; NNCF 3.4 setups/npu.py: "
            "q8_a x q8_w_sym"
        ),
        moves="NNCF 3.4 setups/npu.py: quantizers pass through it",
        stored=_IR,
        groups="NNCF 3.4 setups/npu.py: q4_w of MatMul",
        half="OpenVINO documentation, NPU device: FP16 models",
        plain="OpenVINO documentation, NPU device: FP16 is the computation precision of the HW",
    ),
}


def device_of(target: TargetProfile) -> str:
    """The device that a target names in its option ``device``.

    Raises:
        CatalogueError: the option is missing or no device of OpenVINO.
    """
    device = target.options.get("device", "")
    if device not in DEVICES:
        raise CatalogueError(
            f"{target.origin}: targets.{target.name}.options.device is {device!r}.",
            f"Devices of OpenVINO: {', '.join(DEVICES)}.",
        )
    return device
