"""The backend for LiteRT (TensorFlow Lite)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import ClassVar

from qhal.decisions import Decision
from qhal.plugin.backend import Artifact, Backend, Placement, RunOptions
from qhal.plugin.hookspec import hookimpl
from qhal.quant.model import QuantModel
from qhal.targets.capability import Capabilities
from qhal.targets.profile import TargetProfile
from qhal_backends.tflite.runner import INSTALL, TfliteRunner, installed

PACKAGES = {
    "ai_edge_litert": "ai-edge-litert",
    "tflite_runtime": "tflite-runtime",
    "flatbuffers": "flatbuffers",
}
"""Modules and distributions of the runtimes, and of the file's schema."""

MODEL = "model.tflite"
"""Name of the file that the runtime loads."""


def artifact_of(model: QuantModel, content: bytes, decisions: tuple[Decision, ...]) -> Artifact:
    """The artifact of a written file; its tensors have the graph's names."""
    graph = model.graph
    return Artifact(
        files={MODEL: content},
        main=MODEL,
        decisions=decisions,
        input_names={name: name for name in graph.inputs},
        output_names={name: name for name in graph.outputs},
    )


class TfliteBackend(Backend):
    """Lowers to a ``.tflite`` file and runs it with LiteRT's interpreter.

    Args:
        install: the command that installs all that is missing; a backend that lowers through this
            one and wants further packages names the one that brings those too.
    """

    name: ClassVar[str] = "tflite"
    options: ClassVar[frozenset[str]] = frozenset()
    packages: ClassVar[Mapping[str, str]] = PACKAGES

    def __init__(self, install: str = INSTALL) -> None:
        self._install = install

    def unavailable(self) -> str | None:
        """Why artifacts cannot be run here."""
        if installed() is None:
            return f"neither ai-edge-litert nor tflite-runtime is installed: {self._install}"
        return None

    def cannot_lower(self) -> str | None:
        """Why this backend cannot write artifacts here: the schema comes from ai-edge-litert."""
        missing = [p for p in ("ai_edge_litert", "flatbuffers") if find_spec(p) is None]
        verb = "is" if len(missing) == 1 else "are"
        reason = f"{' and '.join(missing)} {verb} not installed: {self._install}"
        return reason if missing else None

    def capabilities(self, target: TargetProfile) -> Capabilities:
        """What LiteRT executes on a CPU; the same for every device."""
        from qhal_backends.tflite.capabilities import capabilities

        return capabilities()

    def lower(self, model: QuantModel, target: TargetProfile) -> Artifact:
        """Write the ``.tflite`` file."""
        from qhal_backends.tflite.lowering import lower_model
        from qhal_backends.tflite.writer import write

        lowered = lower_model(model)
        return artifact_of(model, write(lowered.model), lowered.decisions)

    def load(self, artifact: Artifact, target: TargetProfile, options: RunOptions) -> TfliteRunner:
        """A runner on this machine's CPU."""
        inputs, outputs = tuple(artifact.input_names), tuple(artifact.output_names)
        return TfliteRunner(artifact.files[MODEL], inputs, outputs, options)

    def placement(self, artifact: Artifact, target: TargetProfile) -> Placement:
        """Which operators XNNPACK takes."""
        from qhal_backends.tflite.placement import read_placement

        return read_placement(artifact.files[MODEL])


@hookimpl
def qhal_backends() -> Iterable[Backend]:
    """The backend."""
    return [TfliteBackend()]
