"""The backend for Cortex-M."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from qhal_backends.arm.cortexm.cores import CORE, Kernels, kernels_of
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
        options=frozenset({CORE}),
        packages={**PACKAGES, "tflite_micro": interpreter.DISTRIBUTION},
    )
    install: ClassVar[str] = interpreter.INSTALL_ALL

    def readiness(self, target: TargetProfile | None = None) -> Readiness:
        """Look for the schema of the file, and for the interpreter of the device on the host."""
        return Readiness(lower=lacks_schema(self.install), run=interpreter.lacks_interpreter())

    def capabilities(self, target: TargetProfile) -> Capabilities:
        """State what TFLite Micro executes in integers; the same for every core.

        Raises:
            CatalogError: the target's profile names a core that is not known.
        """
        from qhal_backends.arm.cortexm.capabilities import capabilities

        kernels_of(target)
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
        from qhal_backends.arm.cortexm.arena import find_arena, measure_allocations
        from qhal_backends.arm.cortexm.board import check_fits, unchecked
        from qhal_backends.tflite.lowering import lower_model

        if not model.params:
            return super().lower(model, target)
        artifact = artifact_of(model, lower_model(model, MICRO))
        content = artifact.files[MODEL]
        lack = interpreter.lacks_interpreter()
        report = None if lack else measure_allocations(content)
        arena = None if report is None else find_arena(content, report, kernels_of(target))
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
        return Findings(_memory(quantized.artifact.files, kernels_of(target)))


def _around(content: bytes, arena: Arena | None) -> dict[str, bytes]:
    """Write the files that come with the model."""
    from qhal_backends.tflite.operators import builtins_of, read_operators

    texts = {
        sources.HEADER: sources.model_header(len(content), arena),
        sources.DATA: sources.model_source(content),
        sources.RESOLVER: sources.resolver_header(builtins_of(read_operators(content))),
    }
    if arena is not None:
        texts[ALLOCATIONS] = arena.report
    return {name: text.encode() for name, text in texts.items()}


def _arena_unknown(lack: Lack) -> Decision:
    sentence = f"The arena was neither measured nor compared with the board's RAM: {lack}."
    return Decision(Code.NOT_RUNNABLE, sentence, severity=Severity.WARNING)


def _memory(files: Mapping[str, bytes], kernels: Sequence[Kernels]) -> dict[str, Metric]:
    """Report the sizes of an artifact's files."""
    from qhal_backends.arm.cortexm.arena import find_arena

    note = "only the model, without the program's code"
    found = {"flash_bytes": _bytes(len(files[MODEL]), Basis.COUNTED, note, "flash of the model")}
    # Without the schema of the file there is no plan; a bench says what is not installed.
    if ALLOCATIONS in files and lacks_schema(interpreter.INSTALL_ALL) is None:
        arena = find_arena(files[MODEL], files[ALLOCATIONS].decode(), kernels)
        found["arena_bytes"] = _of_device(arena, core_known=len(kernels) == 1)
        note = f"held by {interpreter.DISTRIBUTION} after loading, on a 64-bit host"
        name = "arena, reference kernels"
        found["arena_host_bytes"] = _bytes(arena.host_bytes, Basis.MEASURED_HOST, note, name)
    return found


def _of_device(arena: Arena, core_known: bool) -> Metric:
    """State the arena with a band: from its plan alone to what it is with pointers of 64 bits."""
    why = "" if core_known else ", the larger one, as the target names no core"
    note = (
        f"for {arena.kernels}{why}: planned with the scratch buffers of its published formulas; "
        "the lower end is that plan, the upper end adds all else as with 64-bit pointers"
    )
    return _bytes(arena.total_bytes, Basis.MODELED, note, "arena", arena.planned_bytes)


def _bytes(count: int, basis: Basis, note: str, label: str, low: int | None = None) -> Metric:
    high = None if low is None else count
    return Metric(count, "bytes", basis, low, high, note, label, Topic.SIZE)
