"""Real execution on emulated cores: exact counts, and the same bits as on this host.

Skipped without QEMU and its arm64 root: ``apt-get install qemu-user``, ``qhal setup
arm-emulator``. Where they have to be there, ``QHAL_REQUIRE_ARM_EMULATOR=1`` makes that a failure.
"""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

import qhal
from qhal.errors import MissingDependencyError
from qhal.metric import Basis
from qhal.plugin.backend import RunOptions
from qhal.results.record import RunRecord
from qhal_backends.arm.cortexa_cores import CORES, Core
from qhal_backends.arm.emulator import emulator
from qhal_backends.arm.emulator.counter import prepare_counter
from qhal_backends.arm.emulator.emulator import BitDifference, EmulatedRun, Emulator, differing
from qhal_backends.arm.emulator.folder import QEMU, Folder, find_folder, lacks_emulator
from qhal_backends.tflite.runner import TfliteRunner

DATA = {
    "mlperf_tiny_kws": ("kws_500.npz", "raw", (1, 49, 10, 1)),
    "resnet20_cifar10": ("cifar10_test_1000.npz", "imagenet-torch", (1, 32, 32, 3)),
}
PER_RUN = 1e-3


@pytest.fixture(scope="session")
def folder() -> Folder:
    missing = lacks_emulator()
    if missing and os.environ.get("QHAL_REQUIRE_ARM_EMULATOR"):
        pytest.fail(f"the Arm emulator has to be there: {missing}")
    if missing:
        pytest.skip(f"no Arm emulator: {missing}")
    found = find_folder()
    assert found is not None
    return found


# --- counting -----------------------------------------------------------------------

GETPPID, EXIT = 173, 93
LOOPS = 1000
SYSCALL = 0xD4000001


def movz(register: int, value: int) -> int:
    return 0xD2800000 | value << 5 | register


PROGRAM = (
    movz(8, GETPPID),
    SYSCALL,
    movz(0, LOOPS),
    0xF1000400,  # subs x0, x0, #1
    0x54FFFFE1,  # b.ne the instruction before
    SYSCALL,
    movz(8, EXIT),
    movz(0, 0),
    SYSCALL,
)
BETWEEN_THE_MARKS = 1 + 2 * LOOPS + 1


def executable(words: tuple[int, ...]) -> bytes:
    """A static ELF file for aarch64 with one segment."""
    base, headers = 0x400000, 64 + 56
    code = struct.pack(f"<{len(words)}I", *words)
    size = headers + len(code)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", ident, 2, 183, 1, base + headers, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return head + segment + code


def test_every_instruction_is_counted(folder: Folder, tmp_path: Path) -> None:
    program, log = tmp_path / "program", tmp_path / "log"
    program.write_bytes(executable(PROGRAM))
    program.chmod(0o755)
    plugin = ["-plugin", str(prepare_counter(folder)), "-d", "plugin", "-D", str(log)]
    subprocess.run([QEMU, *plugin, str(program)], check=True, timeout=60)
    before, after = (int(line.split()[1]) for line in log.read_text().splitlines())
    assert after - before == BETWEEN_THE_MARKS


# --- real models ----------------------------------------------------------------------


@pytest.fixture(scope="session")
def deployed(
    folder: Folder, zoo: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[RunRecord, bytes]]:
    """Every model of DATA for the Raspberry Pi 5: name -> (record, artifact)."""
    found = {}
    for name, (data, preprocess, _) in DATA.items():
        out = tmp_path_factory.mktemp("deployed") / name
        record = qhal.deploy(
            zoo / "models" / f"{name}.onnx",
            target="raspberry-pi-5",
            data=str(zoo / "data" / data),
            preprocess=preprocess,
            out=out,
        )
        found[name] = record, (out / "model.tflite").read_bytes()
    return found


@pytest.mark.parametrize("name", DATA)
def test_the_record_has_counts_and_no_emulated_time(
    deployed: dict[str, tuple[RunRecord, bytes]], name: str
) -> None:
    metrics = deployed[name][0].metrics
    emulated = {n: m for n, m in metrics.items() if m.basis is Basis.COUNTED_EMULATED}
    assert emulated["emulated_identical"].value == 1
    assert emulated["emulated_reference_identical"].value == 1
    assert emulated["instructions"].value < emulated["instructions_float"].value
    assert {metric.unit for metric in emulated.values()} == {"count", "ratio", "fraction"}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("core", CORES)
def test_outputs_have_the_bits_of_this_host_and_counts_repeat(
    folder: Folder, deployed: dict[str, tuple[RunRecord, bytes]], core: str, name: str
) -> None:
    model, shape = deployed[name][1], DATA[name][2]
    rng = np.random.default_rng(3)
    samples = [(rng.uniform(-2, 2, shape).astype(np.float32),) for _ in range(3)]
    counted = EmulatedRun("xnnpack", model, samples, counted_runs=2)
    reference = EmulatedRun("reference", model, samples, reference=True)
    machine = Emulator(folder, CORES[core])
    first = machine.run([counted, reference]).results
    for job in (counted, reference):
        runner = TfliteRunner(model, ("x",), ("y",), RunOptions(reference=job.reference))
        expected = [tuple(runner.run({"x": sample[0]}).values()) for sample in samples]
        elements = sum(y[0].size for y in expected)
        assert differing(first[job.name].outputs, expected) == BitDifference(0, elements)
    second = machine.run([counted]).results
    ratio = first["xnnpack"].instructions_per_run / second["xnnpack"].instructions_per_run
    assert ratio == pytest.approx(1, abs=PER_RUN)


def test_dot_products_save_instructions(
    folder: Folder, deployed: dict[str, tuple[RunRecord, bytes]]
) -> None:
    model = deployed["mlperf_tiny_kws"][1]
    job = EmulatedRun("job", model, [(np.zeros((1, 49, 10, 1), np.float32),)], counted_runs=2)
    without, having = (
        Emulator(folder, CORES[core]).run([job]).results["job"].instructions_per_run
        for core in ("cortex-a72", "cortex-a76")
    )
    assert having < 0.6 * without


def test_a_core_that_qemu_lacks_is_a_problem_in_words(folder: Folder) -> None:
    unknown = Core("cortex-a72", 0, "")
    object.__setattr__(unknown, "name", "cortex-none")
    emulation = Emulator(folder, unknown).run([EmulatedRun("job", b"", [()])])
    assert emulation.results == {}
    assert "cortex-none" in emulation.problem


def test_an_emulation_that_takes_too_long_keeps_what_is_done(
    folder: Folder, deployed: dict[str, tuple[RunRecord, bytes]]
) -> None:
    model = deployed["mlperf_tiny_kws"][1]
    sample = (np.zeros((1, 49, 10, 1), np.float32),)
    jobs = [EmulatedRun("quick", model, [sample], counted_runs=1)]
    jobs.append(EmulatedRun("endless", model, [sample], reference=True, counted_runs=1_000_000))
    emulation = Emulator(folder, CORES["cortex-a76"]).run(jobs, timeout_s=12)
    assert set(emulation.results) == {"quick"}
    assert len(emulation.results["quick"].instructions) == 1
    assert "the emulation did not end within 12 s" in emulation.problem


def test_without_the_plugin_outputs_are_still_there(
    folder: Folder, deployed: dict[str, tuple[RunRecord, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Folder) -> Path:
        raise MissingDependencyError("No plugins.")

    monkeypatch.setattr(emulator, "prepare_counter", refuse)
    sample = (np.zeros((1, 49, 10, 1), np.float32),)
    job = EmulatedRun("job", deployed["mlperf_tiny_kws"][1], [sample], counted_runs=1)
    emulation = Emulator(folder, CORES["cortex-a72"]).run([job])
    assert emulation.results["job"].outputs[0][0].shape == (1, 12)
    assert emulation.results["job"].instructions == ()
    assert emulation.problem == "instructions are not counted: No plugins"


def test_nothing_is_written_outside_of_the_folder(folder: Folder) -> None:
    """The guest's own paths lead into the root, and what it compiled lies in the cache."""
    assert any(folder.bytecode.rglob("*.pyc"))
    command = Emulator(folder, CORES["cortex-a72"]).command(Path("x.py"))
    assert "max" not in command
    assert command[command.index("-cpu") + 1] == "cortex-a72"
