"""The backend for Google Coral's Edge TPU.

It writes a fully quantized ``.tflite`` file and calls the vendor's compiler, if it is on PATH. The
file that the compiler reads also runs on the host, in LiteRT: that is how it is verified here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from qhal.decisions import Code, Decision, Severity
from qhal.errors import InternalError
from qhal.plugin.backend import Artifact, Backend, Placement
from qhal.plugin.hookspec import hookimpl
from qhal.plugin.info import BackendInfo
from qhal.plugin.machine_setup import Setup
from qhal.quant.model import QuantModel
from qhal.targets.capability import Capabilities
from qhal.targets.profile import TargetProfile
from qhal_backends.edgetpu import compiler
from qhal_backends.tflite.family import PACKAGES, HostedByLitert, artifact_of
from qhal_backends.vendor_compiler import with_files


class EdgeTpuBackend(HostedByLitert):
    """Lowers like LiteRT's backend, for what the Edge TPU compiler reads."""

    info: ClassVar = BackendInfo("edgetpu", options=frozenset(), packages=PACKAGES)

    def capabilities(self, target: TargetProfile) -> Capabilities:
        """State what the Edge TPU executes, and what stays on the host."""
        from qhal_backends.edgetpu.capabilities import capabilities

        return capabilities()

    def lower(self, model: QuantModel, target: TargetProfile) -> Artifact:
        """Write the ``.tflite`` file and compile it, if the compiler is installed.

        A plain float model is written for the host: the baseline that results are compared with.
        """
        from qhal_backends.edgetpu.flavor import EDGE_TPU
        from qhal_backends.tflite.lowering import lower_model

        if not model.params:
            return super().lower(model, target)
        lowered = lower_model(model, EDGE_TPU)
        expected = _floats_expected(model)
        tensors = lowered.model.tensors.items()
        floats = [n for n, t in tensors if t.type.dtype.is_float and n not in expected]
        if floats:
            raise InternalError(f"{len(floats)} tensors are float, such as {floats[0]}.")
        return _compiled(artifact_of(model, lowered))

    def placement(self, artifact: Artifact, target: TargetProfile) -> Placement | None:
        """Read what the compiler put on the Edge TPU; None if it was not run."""
        from qhal_backends.edgetpu.placement import read_placement

        if compiler.COMPILED not in artifact.files:
            return None
        log = artifact.files[compiler.LOG].decode(errors="replace")
        files = artifact.files
        return read_placement(files[compiler.SOURCE], files[compiler.COMPILED], log)

    def setups(self) -> tuple[Setup, ...]:
        """Provide the setup of the compiler."""
        from qhal_backends.edgetpu.compiler_setup import edgetpu_compiler

        return (edgetpu_compiler(),)


def _floats_expected(model: QuantModel) -> frozenset[str]:
    """Return inputs that nothing reads, and what nodes without quantized activations touch.

    These are joins in float, and nodes on integers such as indices.
    """
    nodes, kernels = model.graph.nodes, model.kernels
    used = {name for node in nodes for name in (*node.inputs, *node.outputs)}
    named = ((kernels.get(node.name), node) for node in nodes)
    in_float = [n for row, n in named if row is not None and not row.activation.quantized]
    touched = {name for node in in_float for name in (*node.inputs, *node.outputs)}
    return frozenset(model.graph.inputs) - used | touched


def _compiled(artifact: Artifact) -> Artifact:
    """Add the compiled file to the artifact, or the reason why there is none."""
    program = compiler.find_compiler()
    if program is None:
        return _with(
            artifact, _not_compiled(Code.NOT_COMPILED, f"{compiler.PROGRAM} is not on PATH")
        )
    result = compiler.compile_model(program, artifact.files[compiler.SOURCE])
    written = {compiler.LOG: result.log.encode()} if result.log else {}
    if result.model is None:
        failed = _not_compiled(Code.COMPILER_FAILED, f"{program} failed: {result.failure}")
        return _with(with_files(artifact, written, artifact.main), failed)
    written[compiler.COMPILED] = result.model
    return _with(with_files(artifact, written, compiler.COMPILED), *_report(result))


def _not_compiled(code: Code, why: str) -> Decision:
    sentence = f"The artifact was not compiled: {why}. To compile it: `{compiler.COMMAND}`."
    return Decision(code, sentence, severity=Severity.WARNING)


def _report(result: compiler.EdgetpuCompilation) -> Iterable[Decision]:
    """Make one decision about the model, and one per kind of operator that stays on the host."""
    yield Decision(
        Code.COMPILED,
        f"edgetpu_compiler {result.version} mapped {result.mapped} of {result.total} operators to "
        "the Edge TPU.",
    )
    for row in result.operators:
        if row.status != compiler.MAPPED:
            sentence = f"The compiler left {row.count} {row.operator} on the host: {row.status}."
            yield Decision(Code.UNIT_FALLBACK, sentence, severity=Severity.WARNING)


def _with(artifact: Artifact, *decisions: Decision) -> Artifact:
    return replace(artifact, decisions=(*artifact.decisions, *decisions))


@hookimpl
def qhal_backends() -> Iterable[Backend]:
    """Provide the backend ``edgetpu``."""
    return [EdgeTpuBackend()]
