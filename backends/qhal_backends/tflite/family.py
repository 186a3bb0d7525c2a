"""What the backends whose artifact is a ``.tflite`` file have in common.

Each of them hands the file to another program: LiteRT itself, a vendor's compiler, or an
interpreter for microcontrollers. Most of them use LiteRT to run artifacts on the host.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar

from qhal.plugin.backend import Artifact, Backend, RunOptions
from qhal.plugin.readiness import Lack, Readiness
from qhal.quant.model import QuantModel
from qhal.targets.profile import TargetProfile
from qhal_backends.tflite.runner import INSTALL, TfliteRunner, installed

if TYPE_CHECKING:
    from qhal_backends.tflite.lowering import Lowered

PACKAGES = {
    "ai_edge_litert": "ai-edge-litert",
    "tflite_runtime": "tflite-runtime",
    "flatbuffers": "flatbuffers",
}
"""Modules and distributions of the runtimes, and of the file's schema."""

MODEL = "model.tflite"
"""Name of the file that the runtime loads."""


class TfliteFamily(Backend):
    """A backend that writes a ``.tflite`` file."""

    install: ClassVar[str] = INSTALL
    """The command that installs all that is missing."""

    def lower(self, model: QuantModel, target: TargetProfile) -> Artifact:
        """Write the ``.tflite`` file in the form that LiteRT runs best."""
        from qhal_backends.tflite.lowering import lower_model

        return artifact_of(model, lower_model(model))


class HostedByLitert(TfliteFamily):
    """A backend whose artifacts run on the host in LiteRT, which may stand in for the device."""

    def readiness(self, target: TargetProfile | None = None) -> Readiness:
        """Look for the schema of the file, which comes with LiteRT, and for a runtime."""
        return Readiness(lower=lacks_schema(self.install), run=_lacks_runtime(self.install))

    def load(self, artifact: Artifact, target: TargetProfile, options: RunOptions) -> TfliteRunner:
        """Load the ``.tflite`` file in LiteRT, on this machine's processor."""
        inputs, outputs = tuple(artifact.input_names), tuple(artifact.output_names)
        return TfliteRunner(artifact.files[MODEL], inputs, outputs, options)


def artifact_of(model: QuantModel, lowered: Lowered) -> Artifact:
    """Write the file; its tensors have the graph's names."""
    from qhal_backends.tflite.writer import write

    graph = model.graph
    return Artifact(
        files={MODEL: write(lowered.model)},
        main=MODEL,
        decisions=lowered.decisions,
        input_names={name: name for name in graph.inputs},
        output_names={name: name for name in graph.outputs},
    )


def lacks_schema(install: str) -> Lack | None:
    """Say what is missing to write the file; None if nothing is.

    Args:
        install: the command that installs what is missing.
    """
    missing = [p for p in ("ai_edge_litert", "flatbuffers") if find_spec(p) is None]
    verb = "is" if len(missing) == 1 else "are"
    return Lack(f"{' and '.join(missing)} {verb} not installed", install) if missing else None


def _lacks_runtime(install: str) -> Lack | None:
    if installed() is not None:
        return None
    return Lack("neither ai-edge-litert nor tflite-runtime is installed", install)
