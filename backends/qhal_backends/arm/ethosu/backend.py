"""The backend for Ethos-U."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from qhal.decisions import Code, Decision, Severity
from qhal.ir.graph import Node, NodeView
from qhal.plugin.backend import Artifact, Findings, Placement, Trial
from qhal.plugin.info import BackendInfo
from qhal.plugin.readiness import Readiness
from qhal.quant.model import QuantModel
from qhal.targets.capability import HOST, Capabilities
from qhal.targets.profile import TargetProfile
from qhal_backends.arm.ethosu import compiler
from qhal_backends.arm.ethosu.configuration import OPTIONS, Configuration, configuration_of
from qhal_backends.tflite.emitter import Flavor
from qhal_backends.tflite.family import PACKAGES, HostedByLitert, artifact_of
from qhal_backends.vendor_compiler import with_files

VELA = Flavor()
"""Vela takes the plainest form of everything; nothing is written for XNNPACK."""


class EthosUBackend(HostedByLitert):
    """Writes a ``.tflite`` file and compiles it with Vela.

    The file that Vela reads also runs on the host, in LiteRT: that is how the integer model is
    verified. The latency on the NPU is Vela's estimate.
    """

    info: ClassVar = BackendInfo(
        "ethos-u",
        options=frozenset(OPTIONS),
        packages={**PACKAGES, "ethosu": compiler.DISTRIBUTION},
    )
    install: ClassVar[str] = compiler.INSTALL

    def readiness(self, target: TargetProfile | None = None) -> Readiness:
        """Look for Vela too."""
        ready = super().readiness(target)
        return replace(ready, lower=ready.lower or compiler.lacks_vela())

    def capabilities(self, target: TargetProfile) -> Capabilities:
        """State what the NPU executes, and what stays on the Cortex-M beside it."""
        from qhal_backends.arm.ethosu.capabilities import capabilities

        return capabilities(configuration_of(target).is_u85)

    def foresee(self, model: QuantModel, target: TargetProfile) -> tuple[Decision, ...]:
        """Refuse a model whose nodes all run beside the NPU, or one that breaks Vela.

        A model without nodes is not refused: the NPU copies its inputs.
        """
        rows = model.kernels.values()
        if rows and all(row.unit == HOST for row in rows):
            sentence = (
                "No node of the model runs on the NPU; deploy it to a Cortex-M target instead."
            )
            return (Decision(Code.UNFIT, sentence, severity=Severity.REFUSAL),)
        if configuration_of(target).is_u85:
            return ()
        return tuple(map(_breaking, _breaking_nodes(model)))

    def lower(self, model: QuantModel, target: TargetProfile) -> Artifact:
        """Write the ``.tflite`` file and compile it.

        A plain float model is written for the host: the baseline that results are compared with.

        Raises:
            RefusedError: Vela does not take the model, or puts nothing of it on the NPU.
        """
        from qhal_backends.arm.ethosu import report
        from qhal_backends.tflite.lowering import lower_model

        if not model.params:
            return super().lower(model, target)
        configuration = configuration_of(target)
        lowered = lower_model(model, VELA)
        artifact = artifact_of(model, lowered)
        done = _compiled(artifact, configuration)
        placement = report.read_placement(done.files)
        report.check_uses_npu(placement, configuration)
        owners = {operator.outputs[0]: operator.node for operator in lowered.model.operators}
        found = report.decision_about(placement, model.graph, owners, configuration)
        return replace(done, decisions=(*artifact.decisions, found))

    def placement(self, artifact: Artifact, target: TargetProfile) -> Placement | None:
        """Read what Vela put on the NPU; None for a float model, which Vela never sees."""
        from qhal_backends.arm.ethosu.report import read_placement

        return read_placement(artifact.files) if compiler.COMPILED in artifact.files else None

    def examine(self, quantized: Trial, baseline: Trial | None, target: TargetProfile) -> Findings:
        """Report Vela's estimates."""
        from qhal_backends.arm.ethosu.report import metrics_of

        files = quantized.artifact.files
        if compiler.COMPILED not in files:
            return Findings()
        return Findings(metrics_of(files, configuration_of(target)))


def _compiled(artifact: Artifact, configuration: Configuration) -> Artifact:
    """Add to the artifact what Vela made of it."""
    result = compiler.compile_model(artifact.files[compiler.SOURCE], configuration)
    written = {
        compiler.COMPILED: result.model,
        compiler.SUMMARY: result.summary,
        compiler.LAYERS: result.layers,
        compiler.LOG: result.log.encode(),
    }
    return with_files(artifact, written, compiler.COMPILED)


def _breaking_nodes(model: QuantModel) -> list[Node]:
    from qhal_backends.arm.ethosu.limits import breaks_vela_for_u55

    graph = model.graph
    return [node for node in graph.nodes if breaks_vela_for_u55(NodeView(graph, node))]


def _breaking(node: Node) -> Decision:
    sentence = (
        f"Vela does not compile the {node.op.kind} {node.name} over several batches for an "
        "Ethos-U55 or U65; export the model with a batch of 1."
    )
    return Decision(Code.UNFIT, sentence, node.name, Severity.REFUSAL)
