"""The backend for Cortex-M."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from qhal.decisions import Code, Decision, Severity
from qhal.metric import Basis, Metric, Topic
from qhal.plugin.backend import Artifact, Backend, Findings, RunOptions, Trial
from qhal.quant.model import QuantModel
from qhal.targets.capability import Capabilities
from qhal.targets.profile import TargetProfile
from qhal_backends.arm.cortexm import interpreter, sources
from qhal_backends.tflite.emitter import Flavor
from qhal_backends.tflite.plugin import MODEL, PACKAGES, TfliteBackend, artifact_of

if TYPE_CHECKING:
    from qhal_backends.arm.cortexm.arena import Arena

ALLOCATIONS = "model_arena.txt"
"""The interpreter's report of its memory."""

MICRO = Flavor(expand_by_broadcasting=True)
"""TFLite Micro has no TILE."""


class CortexMBackend(Backend):
    """Writes a ``.tflite`` file and the sources around it, and runs it in TFLite Micro."""

    name: ClassVar[str] = "cortex-m"
    runner_macs_per_s: ClassVar[float | None] = 1e9
    """Measured with mobilenet_v2 in the interpreter of the wheel, which has reference kernels."""
    options: ClassVar[frozenset[str]] = frozenset()
    packages: ClassVar[Mapping[str, str]] = {**PACKAGES, "tflite_micro": interpreter.DISTRIBUTION}

    def __init__(self) -> None:
        self._tflite = TfliteBackend(interpreter.INSTALL_ALL)

    def unavailable(self) -> str | None:
        """Why artifacts cannot be run (on the host, with the interpreter of the device)."""
        return interpreter.not_installed()

    def cannot_lower(self) -> str | None:
        """Why this backend cannot write artifacts here."""
        return self._tflite.cannot_lower()

    def capabilities(self, target: TargetProfile) -> Capabilities:
        """What TFLite Micro executes in integers; the same for every core."""
        from qhal_backends.arm.cortexm.capabilities import capabilities

        return capabilities()

    def foresee(self, model: QuantModel, target: TargetProfile) -> tuple[Decision, ...]:
        """Whether the weights fit the board's flash."""
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
        from qhal_backends.tflite.writer import write

        if not model.params:
            return self._tflite.lower(model, target)
        lowered = lower_model(model, MICRO)
        content = write(lowered.model)
        missing = interpreter.not_installed()
        arena = None if missing else measure_arena(content)
        check_fits(target, len(content), arena)
        unknown = (_arena_unknown(missing),) if missing else ()
        decisions = (*lowered.decisions, *unchecked(target), *unknown)
        artifact = artifact_of(model, content, decisions)
        around = _around(content, arena)
        return replace(artifact, files={MODEL: content, **around}, aside=frozenset(around))

    def load(
        self, artifact: Artifact, target: TargetProfile, options: RunOptions
    ) -> interpreter.MicroRunner | None:
        """A runner in TFLite Micro's interpreter; None for a float model."""
        if sources.DATA not in artifact.files:
            return None
        inputs, outputs = tuple(artifact.input_names), tuple(artifact.output_names)
        return interpreter.MicroRunner(artifact.files[MODEL], inputs, outputs)

    def examine(self, quantized: Trial, baseline: Trial | None, target: TargetProfile) -> Findings:
        """Flash and arena."""
        return Findings(_memory(quantized.artifact.files))


def _around(content: bytes, arena: Arena | None) -> dict[str, bytes]:
    """The files beside the model."""
    from qhal_backends.tflite.operators import builtins_of, read_operators

    texts = {
        sources.HEADER: sources.model_header(len(content), arena),
        sources.DATA: sources.model_source(content),
        sources.RESOLVER: sources.resolver_header(builtins_of(read_operators(content))),
    }
    if arena is not None:
        texts[ALLOCATIONS] = arena.text
    return {name: text.encode() for name, text in texts.items()}


def _arena_unknown(missing: str) -> Decision:
    sentence = f"The arena was not measured and not compared with the board's RAM: {missing}."
    return Decision(Code.NOT_RUNNABLE, sentence, severity=Severity.WARNING)


def _memory(files: Mapping[str, bytes]) -> dict[str, Metric]:
    """The figures of an artifact's files."""
    from qhal_backends.arm.cortexm.arena import read_arena

    note = "the model alone; the program's code comes on top"
    found = {"flash_bytes": _bytes(len(files[MODEL]), Basis.COUNTED, note, "flash of the model")}
    if ALLOCATIONS in files:
        arena = read_arena(files[ALLOCATIONS].decode())
        name = interpreter.DISTRIBUTION
        note = f"allocated by {name} on a 64-bit host; a Cortex-M needs less"
        found["arena_bytes"] = _bytes(arena.total_bytes, Basis.MEASURED_HOST, note, "arena")
    return found


def _bytes(count: int, basis: Basis, note: str, label: str) -> Metric:
    return Metric(count, "bytes", basis, note=note, label=label, topic=Topic.SIZE)
