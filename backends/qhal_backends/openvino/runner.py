"""Runs an artifact in OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qhal.plugin.backend import Artifact, RunOptions

if TYPE_CHECKING:
    import openvino

Array = npt.NDArray[np.generic]


class OpenVinoRunner:
    """A compiled artifact; inputs and outputs have the graph's names."""

    def __init__(self, artifact: Artifact, device: str, options: RunOptions) -> None:
        self.runtime = f"{runtime_name()} {device}"
        self._request = compile_model(artifact, device, options.threads).create_infer_request()
        self._outputs = tuple(artifact.output_names)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once."""
        self._request.infer(dict(inputs), share_inputs=True)
        return {name: np.array(self._request.get_tensor(name).data) for name in self._outputs}


def compile_model(artifact: Artifact, device: str, threads: int) -> openvino.CompiledModel:
    """Compile an artifact for one device.

    On a processor float parts run in float32, and only what the artifact quantizes is quantized.
    Left alone, OpenVINO takes bfloat16 where the processor has it, and rounds the activations in
    front of stored integer weights as they come; then neither the baseline nor the artifact would
    be what the plan says.
    """
    import openvino

    core = openvino.Core()
    xml, weights = (artifact.files[name] for name in (artifact.main, _weights_of(artifact)))
    return core.compile_model(core.read_model(xml, weights), device, _config(device, threads))


def _weights_of(artifact: Artifact) -> str:
    return artifact.main.removesuffix(".xml") + ".bin"


def _config(device: str, threads: int) -> dict[str, Any]:
    shared = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
    if device != "CPU":
        return shared
    return {
        **shared,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }


def available_devices() -> tuple[str, ...]:
    """The devices that OpenVINO finds on this machine, such as ``CPU`` and ``GPU.0``."""
    import openvino

    return tuple(openvino.Core().available_devices)


def runtime_name() -> str:
    """Name and version of the runtime."""
    from importlib import metadata

    return f"openvino {metadata.version('openvino')}"
