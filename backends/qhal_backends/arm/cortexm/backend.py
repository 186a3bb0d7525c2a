"""The backend for Cortex-M."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from qhal.decisions import Code, Decision, Severity
from qhal.metric import Basis, Metric, Topic
from qhal.plugin.backend import Artifact, Findings, RunOptions, Trial
from qhal.plugin.info import BackendInfo
from qhal.plugin.readiness import Lack, Readiness
from qhal.quant.model import QuantModel
from qhal.targets.capability import Capabilities
from qhal.targets.profile import TargetProfile
from qhal_backends.arm.cortexm import interpreter, sources
from qhal_backends.tflite.emitter import Flavor
from qhal_backends.tflite.family import (
    MODEL,
    PACKAGES,
    TfliteFamily,
    artifact_of,
    lacks_schema,
)

if TYPE_CHECKING:
    from qhal_backends.arm.cortexm.arena import Arena

ALLOCATIONS = "model_arena.txt"
"""The interpreter's report of its memory."""

MICRO = Flavor(expand_by_broadcasting=True)
"""TFLite Micro has no TILE."""


class CortexMBackend(TfliteFamily):
    """Writes a ``.tflite`` file and the sources around it, and runs it in TFLite Micro."""

    info: ClassVar = BackendInfo(
        "cortex-m",
        # Measured with mobilenet_v2 in the wheel's interpreter, which has reference kernels.
        runner_macs_per_s=1e9,
        options=frozenset(),
        packages={**PACKAGES, "tflite_micro": interpreter.DISTRIBUTION},
    )
    install: ClassVar[str] = interpreter.INSTALL_ALL

    def readiness(self, target: TargetProfile | None = None) -> Readiness:
        """Look for the schema of the file, and for the interpreter of the device on the host."""
        return Readiness(lower=lacks_schema(self.install), run=interpreter.lacks_interpreter())

    def capabilities(self, target: TargetProfile) -> Capabilities:
        """State what TFLite Micro executes in integers; the same for every core."""
        from qhal_backends.arm.cortexm.capabilities import capabilities

        return capabilities()

    def foresee(self, model: QuantModel, target: TargetProfile) -> tuple[Decision, ...]:
        """Say whether the weights fit the board's flash."""
        from qhal.measure.counted import planned_weight_bytes
        from qhal_backends.arm.cortexm.board import foresee

        return foresee(target, planned_weight_bytes(model))

    def lower(self, model: QuantModel, target: TargetProfile) -> Artifact:
        """Write the file, the array, the resolver and the report of the arena.

        A plain float model is written for the size alone: the kernels here are for integers.

        Raises:
            RefusedError: the model does not fit the board's flash or RAM.
        """
        from qhal_backends.arm.cortexm.arena import measure_arena
        from qhal_backends.arm.cortexm.board import check_fits, unchecked
        from qhal_backends.tflite.lowering import lower_model

        if not model.params:
            return super().lower(model, target)
        artifact = artifact_of(model, lower_model(model, MICRO))
        content = artifact.files[MODEL]
        lack = interpreter.lacks_interpreter()
        arena = None if lack else measure_arena(content)
        check_fits(target, len(content), arena)
        unknown = (_arena_unknown(lack),) if lack else ()
        around = _around(content, arena)
        return replace(
            artifact,
            files={MODEL: content, **around},
            auxiliary=frozenset(around),
            decisions=(*artifact.decisions, *unchecked(target), *unknown),
        )

    def load(
        self, artifact: Artifact, target: TargetProfile, options: RunOptions
    ) -> interpreter.MicroRunner | None:
        """Load the artifact in TFLite Micro's interpreter; None for a float model."""
        if sources.DATA not in artifact.files:
            return None
        inputs, outputs = tuple(artifact.input_names), tuple(artifact.output_names)
        return interpreter.MicroRunner(artifact.files[MODEL], inputs, outputs)

    def examine(self, quantized: Trial, baseline: Trial | None, target: TargetProfile) -> Findings:
        """Report flash and arena."""
        return Findings(_memory(quantized.artifact.files))


def _around(content: bytes, arena: Arena | None) -> dict[str, bytes]:
    """Write the files that come with the model."""
    from qhal_backends.tflite.operators import builtins_of, read_operators

    texts = {
        sources.HEADER: sources.model_header(len(content), arena),
        sources.DATA: sources.model_source(content),
        sources.RESOLVER: sources.resolver_header(builtins_of(read_operators(content))),
    }
    if arena is not None:
        texts[ALLOCATIONS] = arena.text
    return {name: text.encode() for name, text in texts.items()}


def _arena_unknown(lack: Lack) -> Decision:
    sentence = f"The arena was neither measured nor compared with the board's RAM: {lack}."
    return Decision(Code.NOT_RUNNABLE, sentence, severity=Severity.WARNING)


def _memory(files: Mapping[str, bytes]) -> dict[str, Metric]:
    """Report the sizes of an artifact's files."""
    from qhal_backends.arm.cortexm.arena import read_arena

    note = "only the model, without the program's code"
    found = {"flash_bytes": _bytes(len(files[MODEL]), Basis.COUNTED, note, "flash of the model")}
    if ALLOCATIONS in files:
        arena = read_arena(files[ALLOCATIONS].decode())
        name = interpreter.DISTRIBUTION
        note = f"allocated by {name} on a 64-bit host; a Cortex-M needs less"
        found["arena_bytes"] = _bytes(arena.total_bytes, Basis.MEASURED_HOST, note, "arena")
    return found


def _bytes(count: int, basis: Basis, note: str, label: str) -> Metric:
    return Metric(count, "bytes", basis, note=note, label=label, topic=Topic.SIZE)
