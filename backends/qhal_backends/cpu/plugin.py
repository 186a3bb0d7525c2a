"""The backend ``cpu``: ONNX Runtime on the processor of a host."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from qhal.plugin.backend import Artifact, Backend, Findings, Placement, RunOptions, Trial
from qhal.plugin.hookspec import hookimpl
from qhal.plugin.info import BackendInfo
from qhal.quant.model import QuantModel
from qhal.targets.capability import Capabilities
from qhal.targets.profile import TargetProfile
from qhal_backends.cpu import saturating_sums
from qhal_backends.cpu.capabilities import capabilities
from qhal_backends.cpu.runner import OrtRunner

_MAIN = "model.onnx"


class CpuBackend(Backend):
    """QDQ ONNX for ONNX Runtime's CPU provider."""

    info: ClassVar = BackendInfo("cpu", options=frozenset())

    def capabilities(self, target: TargetProfile) -> Capabilities:
        """Return the same for every processor: some get slower kernels, but all get one."""
        return capabilities()

    def lower(self, model: QuantModel, target: TargetProfile) -> Artifact:
        """Write one file, ``model.onnx``."""
        from qhal_backends.cpu.lower import to_qdq

        graph, written = model.graph, to_qdq(model).SerializeToString(deterministic=True)
        return Artifact(
            files={_MAIN: written},
            main=_MAIN,
            decisions=saturating_sums.decisions_about(written),
            input_names={name: name for name in graph.inputs},
            output_names={name: name for name in graph.outputs},
        )

    def load(self, artifact: Artifact, target: TargetProfile, options: RunOptions) -> OrtRunner:
        """Load the artifact in ONNX Runtime."""
        return OrtRunner(artifact, options)

    def placement(self, artifact: Artifact, target: TargetProfile) -> Placement:
        """Read the graph that ONNX Runtime made of the artifact."""
        from qhal_backends.cpu.placement import read_placement

        return read_placement(artifact)

    def examine(self, quantized: Trial, baseline: Trial | None, target: TargetProfile) -> Findings:
        """Report whether this processor needs a setting that most do not."""
        return Findings(decisions=saturating_sums.decisions_here(quantized.artifact))


@hookimpl
def qhal_backends() -> Iterable[Backend]:
    """Provide the backend ``cpu``."""
    return [CpuBackend()]
