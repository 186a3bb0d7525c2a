"""Cortex-A without an emulator: rows, artifacts, profiles, and what is said when it is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from qhal.decisions import Code
from qhal.errors import CatalogError, VerificationError
from qhal.ir.graph import Array
from qhal.metric import Basis
from qhal.plugin.backend import Artifact, Findings, RunOptions, Trial
from qhal.quant.model import QuantModel
from qhal.targets import catalog
from qhal.targets.profile import TargetProfile
from qhal.testing.samples import SAMPLES
from qhal_backends.arm import cortexa
from qhal_backends.arm.cortexa import CortexABackend
from qhal_backends.arm.cortexa_cores import CORES, core_of
from qhal_backends.arm.emulator import emulator, folder
from qhal_backends.arm.emulator.emulator import EmulatedResult, EmulatedRun, Emulation, differing
from qhal_backends.arm.emulator.folder import Folder
from qhal_backends.tflite.family import MODEL
from qhal_backends.tflite.plugin import TfliteBackend

Examine = Callable[..., Findings]

TARGETS = ("cortex-a53", "cortex-a72", "cortex-a76", "raspberry-pi-4", "raspberry-pi-5")


def profile(core: str) -> TargetProfile:
    return TargetProfile("a-core", "cortex-a", "A core", options={"core": core})


@pytest.mark.parametrize("name", TARGETS)
def test_the_catalog_has_the_targets_and_their_cores(name: str) -> None:
    target = catalog.builtin()[name]
    assert target.backend == "cortex-a"
    assert core_of(target).name in ("cortex-a53", "cortex-a72", "cortex-a76")
    assert all(fact.source for fact in target.facts.values())


def test_an_unknown_core_is_named_with_those_that_are_known() -> None:
    with pytest.raises(CatalogError, match=r"'cortex-x9'; allowed: cortex-a53, cortex-a72"):
        CortexABackend().capabilities(profile("cortex-x9"))


@pytest.mark.parametrize("core", CORES)
def test_rows_are_those_of_litert_and_the_source_says_how_the_core_multiplies(core: str) -> None:
    ours = CortexABackend().capabilities(profile(core))
    theirs = TfliteBackend().capabilities(profile(core))
    assert [(c.op, c.rows, c.limits) for c in ours.kernels] == [
        (c.op, c.rows, c.limits) for c in theirs.kernels
    ]
    [convolution] = ours.of("Conv")
    assert CORES[core].byte_product in convolution.source
    assert ours.of("Add") == theirs.of("Add")


def test_only_the_a76_has_dot_products() -> None:
    assert {name for name, core in CORES.items() if core.has_dot_product} == {"cortex-a76"}


# --- what the examination makes of an emulation -------------------------------------


class HostRunner:
    """Returns what the test states."""

    runtime = "host"

    def __init__(self, output: np.ndarray) -> None:
        self.output = output

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {"y": self.output}


TRIAL = Trial(
    Artifact({MODEL: b"model"}, MODEL, (), {"x": "x"}, {"y": "y"}),
    {"x": np.zeros((1, 4), np.float32)},
)
OUTPUT = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Examine:
    """Lets a test say what the emulator finds; returns the examination of it."""

    def examine(emulation: Emulation, on_host: np.ndarray = OUTPUT) -> Findings:
        monkeypatch.setattr(folder, "lacks_emulator", lambda: None)
        monkeypatch.setattr(folder, "find_folder", lambda: Folder(tmp_path))
        monkeypatch.setattr(emulator.Emulator, "run", lambda self, jobs: emulation)
        monkeypatch.setattr(CortexABackend, "load", lambda *_: HostRunner(on_host))
        return CortexABackend().examine(TRIAL, TRIAL, profile("cortex-a76"))

    return examine


def results(**instructions: tuple[int, ...]) -> dict[str, EmulatedResult]:
    return {name: EmulatedResult(((OUTPUT,),), counts) for name, counts in instructions.items()}


def test_counts_become_metrics(emulated: Examine) -> None:
    found = emulated(
        Emulation(results(quantized=(100, 102, 101), float=(202, 202, 202), reference=()))
    )
    metrics = found.metrics
    assert found.decisions == ()
    assert metrics["instructions"].value == 101
    assert metrics["instructions_float"].value == 202
    assert metrics["instructions_ratio"].value == 2
    assert metrics["emulated_identical"].value == metrics["emulated_reference_identical"].value == 1
    assert {metric.basis for metric in metrics.values()} == {Basis.COUNTED_EMULATED}
    assert not any("ns" in metric.unit for metric in metrics.values())


def test_more_instructions_than_float_are_a_warning(emulated: Examine) -> None:
    found = emulated(Emulation(results(quantized=(300, 300, 300), float=(200, 200, 200))))
    [decision] = found.decisions
    assert decision.code is Code.MORE_INSTRUCTIONS
    assert "1.50 times as many instructions" in decision.sentence


def test_other_bits_are_a_warning_that_names_the_kernels(emulated: Examine) -> None:
    other = OUTPUT.copy()
    other[0, 1] = np.nextafter(other[0, 1], np.float32(9), dtype=np.float32)
    found = emulated(Emulation(results(quantized=(1, 1, 1), reference=())), other)
    assert found.metrics["emulated_identical"].value == 0.75
    assert [d.code for d in found.decisions] == [Code.EMULATION_DIFFERS] * 2
    assert "XNNPACK's kernels" in found.decisions[0].sentence
    assert "1 of 4 output elements" in found.decisions[1].sentence


def test_bits_are_compared_not_values() -> None:
    zeros = np.array([0.0, np.nan, 1.0], np.float32)
    same = differing([(zeros,)], [(zeros.copy(),)])
    assert (same.elements, same.total, same.largest) == (0, 3, 0)
    found = differing([(zeros,)], [(np.array([-0.0, np.nan, 3.5], np.float32),)])
    assert (found.elements, found.largest) == (2, 2.5)
    both = differing([(zeros,), (zeros,)], [(zeros + 1,), (zeros,)])
    assert (both.elements, both.total) == (2, 6)


def test_outputs_of_another_shape_are_an_error() -> None:
    with pytest.raises(VerificationError, match=r"float32\[4\] where this host gives float32\[2\]"):
        differing([(np.zeros(4, np.float32),)], [(np.zeros(2, np.float32),)])


def test_what_was_cut_off_is_said_and_the_rest_is_kept(emulated: Examine) -> None:
    found = emulated(Emulation(results(quantized=(5, 5, 5)), "the emulation took longer than 1 s"))
    assert set(found.metrics) == {"instructions", "emulated_identical"}
    [decision] = found.decisions
    assert decision.code is Code.NOT_EMULATED
    assert "took longer than 1 s" in decision.sentence


def test_without_an_emulator_the_command_that_mends_it_is_in_the_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = CortexABackend().examine(TRIAL, None, profile("cortex-a72"))
    assert not found.metrics
    [decision] = found.decisions
    assert decision.code is Code.NOT_EMULATED
    assert "apt-get install qemu-user" in decision.sentence
    assert "qhal setup arm-emulator" in decision.sentence


def test_the_artifact_is_litert_s_and_runs_on_this_host() -> None:
    model = QuantModel(next(s for s in SAMPLES if s.op.kind == "Relu").graph())
    target = profile("cortex-a72")
    artifact = CortexABackend().lower(model, target)
    assert artifact.files == TfliteBackend().lower(model, target).files
    runner = CortexABackend().load(artifact, target, RunOptions())
    assert "litert" in runner.runtime


def test_jobs_come_in_the_order_of_what_is_wanted_most() -> None:
    jobs: list[EmulatedRun] = cortexa._jobs(TRIAL, TRIAL)
    assert [(job.name, job.reference, job.counted_runs) for job in jobs] == [
        ("quantized", False, 3),
        ("float", False, 3),
        ("reference", True, 0),
    ]
