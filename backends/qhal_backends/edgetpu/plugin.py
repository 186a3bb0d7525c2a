"""The backend for Google Coral's Edge TPU.

It writes a fully quantized ``.tflite`` file and calls the vendor's compiler, if it is on PATH. The
file that the compiler reads also runs on the host, in LiteRT: that is how it is verified here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import ClassVar

from qhal.decisions import Code, Decision, Severity
from qhal.errors import InternalError
from qhal.plugin.backend import Artifact, Backend, Placement, RunOptions
from qhal.plugin.hookspec import hookimpl
from qhal.plugin.setup import Setup
from qhal.quant.model import QuantModel
from qhal.targets.capability import Capabilities
from qhal.targets.profile import TargetProfile
from qhal_backends.edgetpu import compiler
from qhal_backends.tflite.plugin import PACKAGES, TfliteBackend, artifact_of
from qhal_backends.tflite.runner import TfliteRunner


class EdgeTpuBackend(Backend):
    """Lowers like LiteRT's backend, for what the Edge TPU compiler reads."""

    name: ClassVar[str] = "edgetpu"
    options: ClassVar[frozenset[str]] = frozenset()
    packages: ClassVar[Mapping[str, str]] = PACKAGES

    def __init__(self) -> None:
        self._tflite = TfliteBackend()

    def unavailable(self) -> str | None:
        """Why artifacts cannot be run (on the host, which stands in for the device)."""
        return self._tflite.unavailable()

    def cannot_lower(self) -> str | None:
        """Why this backend cannot write artifacts here."""
        return self._tflite.cannot_lower()

    def capabilities(self, target: TargetProfile) -> Capabilities:
        """What the Edge TPU executes, and what stays on the host."""
        from qhal_backends.edgetpu.capabilities import capabilities

        return capabilities()

    def lower(self, model: QuantModel, target: TargetProfile) -> Artifact:
        """Write the ``.tflite`` file and compile it, if the compiler is installed.

        A plain float model is written for the host: the baseline that results are compared with.
        """
        from qhal_backends.edgetpu.flavor import EDGE_TPU
        from qhal_backends.tflite.lowering import lower_model
        from qhal_backends.tflite.writer import write

        if not model.params:
            return self._tflite.lower(model, target)
        lowered = lower_model(model, EDGE_TPU)
        floats = [n for n, t in lowered.model.tensors.items() if t.type.dtype.is_float]
        if floats:
            raise InternalError(f"{len(floats)} tensors are float, such as {floats[0]}.")
        artifact = artifact_of(model, write(lowered.model), lowered.decisions)
        return _compiled(artifact)

    def load(self, artifact: Artifact, target: TargetProfile, options: RunOptions) -> TfliteRunner:
        """A runner of the file that was compiled, on this machine's processor."""
        return self._tflite.load(artifact, target, options)

    def placement(self, artifact: Artifact, target: TargetProfile) -> Placement | None:
        """What the compiler put on the Edge TPU; None if it was not run."""
        from qhal_backends.edgetpu.placement import read_placement

        if compiler.COMPILED not in artifact.files:
            return None
        log = artifact.files[compiler.LOG].decode(errors="replace")
        files = artifact.files
        return read_placement(files[compiler.SOURCE], files[compiler.COMPILED], log)

    def setups(self) -> tuple[Setup, ...]:
        """The compiler."""
        from qhal_backends.edgetpu.setup import edgetpu_compiler

        return (edgetpu_compiler(),)


def _compiled(artifact: Artifact) -> Artifact:
    """The artifact with what the compiler made of it, or with the reason why there is nothing."""
    program = compiler.find_compiler()
    if program is None:
        return _with(artifact, _not_compiled(f"{compiler.PROGRAM} is not on PATH"))
    result = compiler.compile_model(program, artifact.files[compiler.SOURCE])
    files = {**artifact.files, compiler.LOG: result.log.encode()} if result.log else artifact.files
    if result.model is None:
        failed = _not_compiled(f"{program} failed: {result.failure}")
        return _with(replace(artifact, files=files), failed)
    files = {**files, compiler.COMPILED: result.model}
    done = replace(artifact, files=files, main=compiler.COMPILED)
    return _with(done, *_report(result))


def _not_compiled(why: str) -> Decision:
    sentence = f"The artifact was not compiled: {why}. To compile it: `{compiler.COMMAND}`."
    return Decision(Code.NOT_COMPILED, sentence, severity=Severity.WARNING)


def _report(result: compiler.EdgetpuCompilation) -> Iterable[Decision]:
    """One decision about the whole, and one for each kind of operator that stays on the host."""
    yield Decision(
        Code.COMPILED,
        f"edgetpu_compiler {result.version} mapped {result.mapped} of {result.total} operators to "
        "the Edge TPU.",
    )
    for status in result.statuses:
        if status.status != compiler.MAPPED:
            sentence = f"{status.count} {status.operator} on the host: {status.status}."
            yield Decision(Code.UNIT_FALLBACK, sentence, severity=Severity.WARNING)


def _with(artifact: Artifact, *decisions: Decision) -> Artifact:
    return replace(artifact, decisions=(*artifact.decisions, *decisions))


@hookimpl
def qhal_backends() -> Iterable[Backend]:
    """The backend."""
    return [EdgeTpuBackend()]
