"""The backend for Arm's Cortex-A: LiteRT's artifact, run on an emulated core.

XNNPACK has the same operators on every processor, so these targets can run whatever ``tflite`` can
lower. Only the speed differs, and it cannot be measured on x86: where QEMU and its arm64 root are
installed, instructions are counted instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from qhal.decisions import Code, Decision, Severity
from qhal.metric import Basis, Metric
from qhal.plugin.backend import Findings, RunOptions, Trial
from qhal.plugin.info import BackendInfo
from qhal.plugin.machine_setup import Setup
from qhal.targets.capability import Capabilities, Capability
from qhal.targets.profile import TargetProfile
from qhal_backends.arm.cortexa_cores import CORE, Core, core_of
from qhal_backends.tflite.family import PACKAGES
from qhal_backends.tflite.plugin import TfliteBackend

if TYPE_CHECKING:
    from qhal.ir.graph import Array
    from qhal_backends.arm.emulator.emulator import EmulatedResult, EmulatedRun, Emulation

COUNTED_RUNS = 3
_PRODUCTS = frozenset({"Conv", "DepthwiseConv", "ConvTranspose", "FullyConnected", "MatMul"})
_QUANTIZED, _FLOAT, _REFERENCE = "quantized", "float", "reference"


class CortexABackend(TfliteBackend):
    """LiteRT's backend, with an emulated core in addition to this host."""

    info: ClassVar = BackendInfo("cortex-a", options=frozenset({CORE}), packages=PACKAGES)

    def capabilities(self, target: TargetProfile) -> Capabilities:
        """State what LiteRT executes on a CPU, and how the core multiplies.

        Raises:
            CatalogError: the profile names no known core.
        """
        core = core_of(target)
        everywhere = super().capabilities(target)
        kernels = tuple(_on_core(entry, core) for entry in everywhere.kernels)
        return replace(everywhere, kernels=kernels)

    def examine(self, quantized: Trial, baseline: Trial | None, target: TargetProfile) -> Findings:
        """Run both artifacts on the emulated core: count, and compare with this host."""
        from qhal_backends.arm.emulator.emulator import Emulator
        from qhal_backends.arm.emulator.folder import find_folder, lacks_emulator

        core = core_of(target)
        folder, lack = find_folder(), lacks_emulator()
        if folder is None or lack is not None:
            return _not_emulated(f"Nothing was run on an emulated {core.name}: {lack}.")
        emulation = Emulator(folder, core).run(_jobs(quantized, baseline))
        return self._findings(quantized, target, emulation)

    def setups(self) -> tuple[Setup, ...]:
        """Provide the setup of the emulator."""
        from qhal_backends.arm.emulator.emulator_setup import arm_emulator

        return (arm_emulator(),)

    def _findings(self, quantized: Trial, target: TargetProfile, emulation: Emulation) -> Findings:
        core, results = core_of(target), emulation.results
        counts = _counts(core, results)
        found = [Findings(counts, _more_instructions(core, counts))]
        for job, reference in ((_QUANTIZED, False), (_REFERENCE, True)):
            if job in results:
                runner = self.load(quantized.artifact, target, RunOptions(reference=reference))
                expected = tuple(runner.run(quantized.inputs).values())
                found.append(_comparison(core, results[job], expected, reference))
        if emulation.problem:
            sentence = f"The run on an emulated {core.name} is incomplete: {emulation.problem}."
            found.append(_not_emulated(sentence))
        metrics = {name: metric for part in found for name, metric in part.metrics.items()}
        return Findings(metrics, tuple(d for part in found for d in part.decisions))


def _on_core(entry: Capability, core: Core) -> Capability:
    if entry.op not in _PRODUCTS:
        return entry
    note = f"int8 by {core.byte_product} on {core.name} (XNNPACK src/configs/gemm-config.c)"
    return replace(entry, source=f"{entry.source}; {note}")


def _jobs(quantized: Trial, baseline: Trial | None) -> list[EmulatedRun]:
    """List the jobs, the quickest and most useful first: a slow emulation is cut off."""
    found = [_job(_QUANTIZED, quantized, counted_runs=COUNTED_RUNS)]
    if baseline is not None:
        found.append(_job(_FLOAT, baseline, counted_runs=COUNTED_RUNS))
    return [*found, _job(_REFERENCE, quantized, reference=True)]


def _job(name: str, trial: Trial, *, reference: bool = False, counted_runs: int = 0) -> EmulatedRun:
    from qhal_backends.arm.emulator.emulator import EmulatedRun

    artifact = trial.artifact
    sample = tuple(trial.inputs[name] for name in artifact.input_names)
    return EmulatedRun(name, artifact.files[artifact.main], [sample], reference, counted_runs)


def _not_emulated(sentence: str) -> Findings:
    decision = Decision(Code.NOT_EMULATED, sentence, severity=Severity.WARNING)
    return Findings(decisions=(decision,))


def _counts(core: Core, results: Mapping[str, EmulatedResult]) -> dict[str, Metric]:
    """Report executed instructions per inference, quantized and float, and their ratio."""
    kinds = {_QUANTIZED: "instructions", _FLOAT: "instructions_float"}
    note = f"per inference on an emulated {core.name}, XNNPACK kernels, 1 thread"
    found = {
        name: _count(results[job], note)
        for job, name in kinds.items()
        if job in results and results[job].instructions
    }
    if len(found) == len(kinds):
        ratio = found["instructions_float"].value / found["instructions"].value
        said = f"float / quantized, int8 products by {core.byte_product}; says nothing about time"
        found["instructions_ratio"] = Metric(ratio, "ratio", Basis.COUNTED_EMULATED, note=said)
    return found


def _more_instructions(core: Core, counts: Mapping[str, Metric]) -> tuple[Decision, ...]:
    """Warn if quantization does not save any instructions."""
    ratio = counts.get("instructions_ratio")
    if ratio is None or ratio.value >= 1:
        return ()
    sentence = (
        f"On {core.name} the quantized artifact executes {1 / ratio.value:.2f} times as many "
        f"instructions as the float one (int8 products by {core.byte_product})."
    )
    return (Decision(Code.MORE_INSTRUCTIONS, sentence, severity=Severity.WARNING),)


def _count(result: EmulatedResult, note: str) -> Metric:
    said = f"{note}; {len(result.instructions)} runs agreed within {100 * result.spread:.3f} %"
    return Metric(result.instructions_per_run, "count", Basis.COUNTED_EMULATED, note=said)


def _comparison(
    core: Core, result: EmulatedResult, expected: tuple[Array, ...], reference: bool
) -> Findings:
    """Compare the emulated target's outputs with this host's, bit by bit."""
    from qhal_backends.arm.emulator.emulator import differing

    kernels = "LiteRT's reference kernels" if reference else "XNNPACK's kernels"
    difference = differing(result.outputs, [expected])
    name = "emulated_reference_identical" if reference else "emulated_identical"
    note = f"share of output elements that are bit-identical on {core.name} and here, {kernels}"
    share = 1 - difference.elements / max(1, difference.total)
    metric = Metric(share, "fraction", Basis.COUNTED_EMULATED, note=note)
    if not difference.elements:
        return Findings({name: metric})
    sentence = (
        f"With {kernels}, {difference.elements} of {difference.total} output elements differ "
        f"between an emulated {core.name} and this host, for the same artifact and input; the "
        f"largest difference is {difference.largest:g}."
    )
    decision = Decision(Code.EMULATION_DIFFERS, sentence, severity=Severity.WARNING)
    return Findings({name: metric}, (decision,))
