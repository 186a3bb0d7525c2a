"""The backend ``openvino``: OpenVINO IR for Intel's processors, graphics and NPUs."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import ClassVar

from qhal.plugin.backend import (
    Artifact,
    Backend,
    Findings,
    Placement,
    Runner,
    RunOptions,
    Trial,
)
from qhal.plugin.hookspec import hookimpl
from qhal.plugin.info import BackendInfo
from qhal.plugin.readiness import Lack, Readiness
from qhal.quant.model import QuantModel
from qhal.targets.capability import Capabilities
from qhal.targets.profile import TargetProfile
from qhal_backends.openvino import saturating_sums, settings
from qhal_backends.openvino.capabilities import capabilities
from qhal_backends.openvino.devices import (
    ALL_BITS,
    CPU,
    DEVICE,
    WEIGHT_BITS,
    device_of,
    weight_bits_of,
)

_MAIN, _WEIGHTS = "model.xml", "model.bin"

_NOT_INSTALLED = Lack("OpenVINO is not installed", "pip install 'quant-hal[openvino]'")


class OpenVinoBackend(Backend):
    """OpenVINO IR with FakeQuantize and stored integer weights."""

    info: ClassVar = BackendInfo(
        "openvino",
        options=frozenset({DEVICE, WEIGHT_BITS}),
        packages={"openvino": "openvino"},
    )

    def readiness(self, target: TargetProfile | None = None) -> Readiness:
        """Look for OpenVINO, which writes and runs artifacts, and for the target's device."""
        if find_spec("openvino") is None:
            return Readiness(lower=_NOT_INSTALLED, run=_NOT_INSTALLED)
        device = CPU if target is None else device_of(target)
        return Readiness(run=None if device == CPU else _lacks_device(device))

    def capabilities(self, target: TargetProfile) -> Capabilities:
        """State those of the target's device, with the bits of weights that its option sets."""
        return capabilities(device_of(target), weight_bits_of(target))

    def lower(self, model: QuantModel, target: TargetProfile) -> Artifact:
        """Write ``model.xml`` and ``model.bin``."""
        from qhal_backends.openvino.lower import to_ir

        stored = settings.settings_of(model, device_of(target))
        xml, weights = to_ir(model, stored)
        graph = model.graph
        return Artifact(
            files={_MAIN: xml, _WEIGHTS: weights},
            main=_MAIN,
            decisions=(
                *settings.decisions_about(stored),
                *(saturating_sums.decisions_about(xml) if _adds_bytes(target) else ()),
            ),
            input_names={name: name for name in graph.inputs},
            output_names={name: name for name in graph.outputs},
        )

    def load(self, artifact: Artifact, target: TargetProfile, options: RunOptions) -> Runner | None:
        """Compile the artifact for the target's device; None if this machine lacks the device."""
        from qhal_backends.openvino.runner import OpenVinoRunner

        if self.readiness(target).run is not None:
            return None
        return OpenVinoRunner(artifact, device_of(target), options)

    def placement(self, artifact: Artifact, target: TargetProfile) -> Placement | None:
        """Read the graph that the device executes; None if this machine lacks the device."""
        from qhal_backends.openvino.placement import read_placement

        if self.readiness(target).run is not None:
            return None
        return read_placement(artifact, device_of(target))

    def examine(self, quantized: Trial, baseline: Trial | None, target: TargetProfile) -> Findings:
        """Report whether this processor has the types and exact sums that the artifact needs."""
        from qhal_backends.openvino.runner import without_bfloat16

        if device_of(target) != CPU or self.readiness(target).run is not None:
            return Findings()
        artifact = quantized.artifact
        saturated = saturating_sums.decisions_here(artifact) if _adds_bytes(target) else ()
        return Findings(decisions=(*without_bfloat16(artifact), *saturated))


def _adds_bytes(target: TargetProfile) -> bool:
    """Return True for a processor on which products of all 8 bits are added up."""
    return device_of(target) == CPU and weight_bits_of(target) == ALL_BITS


def _lacks_device(device: str) -> Lack | None:
    """Say that OpenVINO finds no such device; the fix is a driver, which no command installs."""
    from qhal_backends.openvino.runner import available_devices

    found = available_devices()
    if any(name.split(".")[0] == device for name in found):
        return None
    listed = ", ".join(found) or "none"
    return Lack(f"OpenVINO finds no {device} here (it finds: {listed}); install its driver")


@hookimpl
def qhal_backends() -> Iterable[Backend]:
    """Provide the backend ``openvino``."""
    return [OpenVinoBackend()]
