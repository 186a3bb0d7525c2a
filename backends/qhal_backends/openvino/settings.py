"""Settings of OpenVINO with which an artifact computes what the plan says.

They are in the ``runtime_options`` of the ``.xml``. OpenVINO takes the group size of dynamic
quantization from there; the precision of float parts it takes from whoever compiles the model,
so it stands there for :mod:`qhal_backends.openvino.runner` and for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qhal.decisions import Code, Decision
from qhal.ir.dtypes import DType
from qhal.quant.model import QuantModel
from qhal_backends.openvino.devices import CPU

if TYPE_CHECKING:
    import openvino

PRECISION = "INFERENCE_PRECISION_HINT"
FLOAT32, BFLOAT16 = "f32", "bf16"

_DYNAMIC_QUANTIZATION = "DYNAMIC_QUANTIZATION_GROUP_SIZE"
_OPTIONS = "runtime_options"


def settings_of(model: QuantModel, device: str) -> dict[str, str]:
    """Choose the settings for a model on a processor; other devices keep their defaults.

    Float parts run in float32, or in bfloat16 where the plan says so, and only what the artifact
    quantizes is quantized. By default, OpenVINO uses bfloat16 where the processor has it, and
    quantizes activations in front of stored integer weights at run time.
    """
    if device != CPU:
        return {}
    types = {row.activation.dtype for row in model.kernels.values()}
    precision = BFLOAT16 if DType.BFLOAT16 in types else FLOAT32
    return {_DYNAMIC_QUANTIZATION: "0", PRECISION: precision}


def store(model: openvino.Model, settings: Mapping[str, str]) -> None:
    """Put settings into a model."""
    for key, value in settings.items():
        model.set_rt_info(value, [_OPTIONS, key])


def stored_precision(model: openvino.Model) -> str:
    """Read the precision of float parts that a model asks for on a processor."""
    path = [_OPTIONS, PRECISION]
    return str(model.get_rt_info(path).astype(str)) if model.has_rt_info(path) else FLOAT32


def decisions_about(settings: Mapping[str, str]) -> tuple[Decision, ...]:
    """Report the setting that the artifact needs wherever it is shipped."""
    if PRECISION not in settings:
        return ()
    sentence = {
        FLOAT32: (
            f"Compile the artifact with {PRECISION} f32: OpenVINO does not read this setting from "
            "the file, and by default computes float parts in bfloat16 where the processor has it."
        ),
        BFLOAT16: (
            f"The artifact computes in bfloat16 if it is compiled with {PRECISION} bf16, the "
            "default where the processor has bfloat16; elsewhere it computes in float32. OpenVINO "
            "does not read this setting from the file. With it, most operators between products "
            "compute in bfloat16 too."
        ),
    }[settings[PRECISION]]
    return (Decision(Code.RUNTIME_SETTING, sentence),)
