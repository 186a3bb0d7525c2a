"""The backend for Ethos-U."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from qhal.decisions import Code, Decision, Severity
from qhal.plugin.backend import Artifact, Backend, Findings, Placement, RunOptions, Trial
from qhal.quant.model import QuantModel
from qhal.targets.capability import HOST, Capabilities
from qhal.targets.profile import TargetProfile
from qhal_backends.arm.ethosu import compiler
from qhal_backends.arm.ethosu.configuration import OPTIONS, Configuration, configuration_of
from qhal_backends.tflite.emitter import Flavor
from qhal_backends.tflite.plugin import PACKAGES, TfliteBackend, artifact_of
from qhal_backends.tflite.runner import TfliteRunner

VELA = Flavor()
"""Vela takes the plainest form of everything; nothing is bent to XNNPACK's liking."""


class EthosUBackend(Backend):
    """Writes a ``.tflite`` file and compiles it with Vela.

    The file that Vela reads also runs on the host, in LiteRT: that is how the integer model is
    verified. What the NPU itself takes is Vela's estimate.
    """

    name: ClassVar[str] = "ethos-u"
    options: ClassVar[frozenset[str]] = frozenset(OPTIONS)
    packages: ClassVar[Mapping[str, str]] = {**PACKAGES, "ethosu": compiler.DISTRIBUTION}

    def __init__(self) -> None:
        self._tflite = TfliteBackend(compiler.INSTALL)

    def unavailable(self) -> str | None:
        """Why artifacts cannot be run (on the host, which stands in for the device)."""
        return self._tflite.unavailable()

    def cannot_lower(self) -> str | None:
        """Why this backend cannot write artifacts here."""
        return self._tflite.cannot_lower() or compiler.not_installed()

    def capabilities(self, target: TargetProfile) -> Capabilities:
        """What the NPU executes, and what stays on the Cortex-M beside it."""
        from qhal_backends.arm.ethosu.capabilities import capabilities

        return capabilities(configuration_of(target).is_u85)

    def foresee(self, model: QuantModel, target: TargetProfile) -> tuple[Decision, ...]:
        """Whether anything is for the NPU."""
        if any(row.unit != HOST for row in model.kernels.values()):
            return ()
        sentence = "Nothing of the model runs on the NPU; a Cortex-M target takes it instead."
        return (Decision(Code.UNFIT, sentence, severity=Severity.REFUSAL),)

    def lower(self, model: QuantModel, target: TargetProfile) -> Artifact:
        """Write the ``.tflite`` file and compile it.

        A plain float model is written for the host: the baseline that results are compared with.

        Raises:
            RefusedError: Vela does not take the model, or puts nothing of it on the NPU.
        """
        from qhal_backends.arm.ethosu import report
        from qhal_backends.tflite.lowering import lower_model
        from qhal_backends.tflite.writer import write

        if not model.params:
            return self._tflite.lower(model, target)
        configuration = configuration_of(target)
        lowered = lower_model(model, VELA)
        artifact = artifact_of(model, write(lowered.model), lowered.decisions)
        done = _compiled(artifact, configuration)
        placement = report.read_placement(done.files)
        report.check_uses_npu(placement, configuration)
        owners = {operator.outputs[0]: operator.node for operator in lowered.model.operators}
        found = report.decision_about(placement, model.graph, owners, configuration)
        return replace(done, decisions=(*artifact.decisions, found))

    def load(self, artifact: Artifact, target: TargetProfile, options: RunOptions) -> TfliteRunner:
        """A runner of the file that was compiled, on this machine's processor."""
        return self._tflite.load(artifact, target, options)

    def placement(self, artifact: Artifact, target: TargetProfile) -> Placement | None:
        """What Vela put on the NPU; None for a float model, which it never sees."""
        from qhal_backends.arm.ethosu.report import read_placement

        return read_placement(artifact.files) if compiler.COMPILED in artifact.files else None

    def examine(self, quantized: Trial, baseline: Trial | None, target: TargetProfile) -> Findings:
        """Vela's estimates."""
        from qhal_backends.arm.ethosu.report import metrics_of

        files = quantized.artifact.files
        if compiler.COMPILED not in files:
            return Findings()
        return Findings(metrics_of(files, configuration_of(target)))


def _compiled(artifact: Artifact, configuration: Configuration) -> Artifact:
    """The artifact with what Vela made of it."""
    result = compiler.compile_model(artifact.files[compiler.SOURCE], configuration)
    files = {
        **artifact.files,
        compiler.COMPILED: result.model,
        compiler.SUMMARY: result.summary,
        compiler.LAYERS: result.layers,
        compiler.LOG: result.log.encode(),
    }
    aside = frozenset(files) - {compiler.COMPILED}
    return replace(artifact, files=files, main=compiler.COMPILED, aside=aside)
