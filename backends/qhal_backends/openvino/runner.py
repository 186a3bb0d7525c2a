"""Run an artifact in OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qhal.decisions import Code, Decision, Severity
from qhal.plugin.backend import Artifact, RunOptions
from qhal_backends.openvino import settings
from qhal_backends.openvino.devices import CPU

if TYPE_CHECKING:
    import openvino

Array = npt.NDArray[np.generic]

_BFLOAT16 = "BF16"
"""OpenVINO's word for a processor that computes in bfloat16."""


class OpenVinoRunner:
    """A compiled artifact; inputs and outputs have the graph's names."""

    def __init__(self, artifact: Artifact, device: str, options: RunOptions) -> None:
        self.runtime = f"{runtime_name()} {device}"
        self._request = compile_model(artifact, device, options.threads).create_infer_request()
        self._outputs = tuple(artifact.output_names)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once."""
        # one number is copied: OpenVINO fills its array anew, and may not write into one lent
        given = {name: value if value.ndim else np.array(value) for name, value in inputs.items()}
        self._request.infer(given, share_inputs=True)
        return {name: np.array(self._request.get_tensor(name).data) for name in self._outputs}


def compile_model(artifact: Artifact, device: str, threads: int) -> openvino.CompiledModel:
    """Compile an artifact for one device.

    On a processor, float parts run in the precision that the artifact asks for, or in float32 if
    the processor lacks it.
    """
    core = load_core()
    model = _read(core, artifact)
    config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
    if device == CPU:
        config["INFERENCE_NUM_THREADS"] = threads
        config[settings.PRECISION] = _precision(core, model)
    return core.compile_model(model, device, config)


@cache
def load_core() -> openvino.Core:
    """Load OpenVINO, once for the process.

    Its CPU plugin gives the thread a stack for signals, and restores the previous one when it is
    unloaded. If two plugins are not unloaded in reverse order, the second restores a stack that
    the first has freed, and the next signal, such as Ctrl-C, ends the process with SIGSEGV
    (OpenVINO 2026.4).
    """
    import openvino

    return openvino.Core()


def _read(core: openvino.Core, artifact: Artifact) -> openvino.Model:
    weights = artifact.main.removesuffix(".xml") + ".bin"
    return core.read_model(artifact.files[artifact.main], artifact.files[weights])


def _precision(core: openvino.Core, model: openvino.Model) -> str:
    wanted = settings.stored_precision(model)
    lacks = wanted == settings.BFLOAT16 and _BFLOAT16 not in _capabilities(core)
    return settings.FLOAT32 if lacks else wanted


def _capabilities(core: openvino.Core) -> list[str]:
    """List the types in which the processor computes, in OpenVINO's names: FP32, INT8, BF16."""
    return list(core.get_property(CPU, "OPTIMIZATION_CAPABILITIES"))


def without_bfloat16(artifact: Artifact) -> tuple[Decision, ...]:
    """Warn if an artifact asks for bfloat16 and this processor has none."""
    core = load_core()
    wanted, have = settings.stored_precision(_read(core, artifact)), _capabilities(core)
    if wanted != settings.BFLOAT16 or _BFLOAT16 in have:
        return ()
    sentence = (
        f"This processor has no bfloat16 (OpenVINO finds {', '.join(have)}), so the artifact ran "
        "in float32 here: its latency is that of float32, and its rounding is not bfloat16's."
    )
    return (Decision(Code.PLACEMENT_DIFFERS, sentence, severity=Severity.WARNING),)


def available_devices() -> tuple[str, ...]:
    """List the devices that OpenVINO finds on this machine, such as ``CPU`` and ``GPU.0``."""
    return tuple(load_core().available_devices)


def runtime_name() -> str:
    """Return the name and version of the runtime."""
    from importlib import metadata

    return f"openvino {metadata.version('openvino')}"
