"""Run artifacts on an emulated core, and count the instructions that they execute."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

from qhal.errors import MissingDependencyError, VerificationError
from qhal.ir.graph import Array
from qhal.system.children import run_tied
from qhal.system.scratch import scratch
from qhal_backends.arm.cortexa_cores import Core
from qhal_backends.arm.emulator.counter import prepare_counter
from qhal_backends.arm.emulator.debian import PYTHON
from qhal_backends.arm.emulator.folder import QEMU, Folder, last_line

GUEST = Path(__file__).with_name("guest.py")
TIMEOUT_S = 120.0

_EXECUTED = re.compile(r"^executed (\d+)$", re.MULTILINE)
_LOG = "qemu.log"


@dataclass(frozen=True, eq=False)
class EmulatedRun:
    """An artifact to run.

    Attributes:
        name: what its result is called.
        model: the ``.tflite`` file.
        samples: inputs by position, one tuple per sample.
        reference: run LiteRT's reference kernels instead of XNNPACK's.
        counted_runs: run the last sample so many times more, and count.
    """

    name: str
    model: bytes
    samples: Sequence[Sequence[Array]]
    reference: bool = False
    counted_runs: int = 0


@dataclass(frozen=True, eq=False)
class EmulatedResult:
    """The result of a job.

    Attributes:
        outputs: by position, one tuple per sample.
        instructions: of every counted run.
    """

    outputs: tuple[tuple[Array, ...], ...]
    instructions: tuple[int, ...] = ()

    @property
    def instructions_per_run(self) -> float:
        """The median over the counted runs."""
        return float(median(self.instructions))

    @property
    def spread(self) -> float:
        """Spread of the counted runs, as a fraction of their median."""
        return (max(self.instructions) - min(self.instructions)) / self.instructions_per_run


@dataclass(frozen=True)
class Emulation:
    """What an emulated process did.

    Attributes:
        results: of the jobs that finished, by name.
        problem: why others did not; empty if all did.
    """

    results: Mapping[str, EmulatedResult]
    problem: str = ""


@dataclass(frozen=True)
class Emulator:
    """User-mode QEMU with one core, and the arm64 root that it runs in.

    The core is always named: the default, ``max``, has instructions that no such device has, and
    XNNPACK's int8 kernels for them compute wrong results there.
    """

    folder: Folder
    core: Core

    def run(self, jobs: Sequence[EmulatedRun], timeout_s: float = TIMEOUT_S) -> Emulation:
        """Do jobs in order, in one process with one thread.

        If the plugin that counts cannot be made, the jobs are run and nothing is counted.
        """
        try:
            plugin, problem = prepare_counter(self.folder), ""
        except MissingDependencyError as error:
            plugin, problem = None, f"instructions are not counted: {error}"
        with scratch() as work:
            _write(work, jobs)
            problem = self._execute(work, plugin, timeout_s) or problem
            return Emulation(_results(work, jobs), problem.rstrip("."))

    def command(self, script: Path, *arguments: str) -> list[str]:
        """Make the command that runs a Python script."""
        return self._command((), script, *arguments)

    def _command(self, options: Sequence[str], script: Path, *arguments: str) -> list[str]:
        python = self.folder.root / "usr" / "bin" / f"python{PYTHON}"
        root = self.folder.core(self.core.name)
        emulator = [QEMU, "-cpu", self.core.name, "-L", str(root), *options]
        return [*emulator, str(python), "-s", "-S", str(script), *arguments]

    def environment(self, *, keep_bytecode: bool = False) -> dict[str, str]:
        """Set all environment variables of the guest: none of the host's may change a count."""
        keep = {} if keep_bytecode else {"PYTHONDONTWRITEBYTECODE": "1"}
        return {
            "LC_ALL": "C.UTF-8",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": str(self.folder.site),
            "PYTHONPYCACHEPREFIX": str(self.folder.bytecode),
            **keep,
        }

    def _execute(self, work: Path, plugin: Path | None, timeout_s: float) -> str:
        """Run the guest; return why it did not finish, or an empty text if it did."""
        log = ["-plugin", str(plugin), "-d", "plugin", "-D", str(work / _LOG)] if plugin else []
        done = run_tied(
            self._command(log, GUEST, str(work)), timeout_s, environment=self.environment()
        )
        return "" if done.code == 0 else f"the emulation {done.failure(last_line(done.err))}"


@dataclass(frozen=True)
class BitDifference:
    """Two runs of one artifact, compared bit by bit.

    Attributes:
        elements: how many elements of all outputs have other bits.
        total: how many there are.
        largest: the largest absolute difference of two elements.
    """

    elements: int = 0
    total: int = 0
    largest: float = 0.0

    def __add__(self, other: BitDifference) -> BitDifference:
        return BitDifference(
            self.elements + other.elements,
            self.total + other.total,
            max(self.largest, other.largest),
        )


def differing(ours: Sequence[Sequence[Array]], theirs: Sequence[Sequence[Array]]) -> BitDifference:
    """Compare the outputs of all samples.

    Raises:
        VerificationError: shapes or types differ.
    """
    pairs = (
        pair for samples in zip(ours, theirs, strict=True) for pair in zip(*samples, strict=True)
    )
    return sum((_compare(mine, its) for mine, its in pairs), BitDifference())


def _compare(mine: Array, its: Array) -> BitDifference:
    if mine.shape != its.shape or mine.dtype != its.dtype:
        raise VerificationError(
            f"The emulated target gives {mine.dtype}{list(mine.shape)} where this host gives "
            f"{its.dtype}{list(its.shape)}.",
            "This is a bug in qhal or in the runtime; please report it with the model.",
        )
    other = _bits(mine) != _bits(its)
    distance = np.abs(mine[other].astype(np.float64) - its[other].astype(np.float64))
    return BitDifference(int(np.count_nonzero(other)), mine.size, float(distance.max(initial=0.0)))


def _bits(array: Array) -> Array:
    """View as unsigned integers, so that equal bits compare equal, NaN included."""
    return np.asarray(array, order="C").view(f"u{array.itemsize}")


def _write(work: Path, jobs: Sequence[EmulatedRun]) -> None:
    tasks = []
    for job in jobs:
        model, samples = f"{job.name}.tflite", f"{job.name}.samples.npz"
        (work / model).write_bytes(job.model)
        named = {
            f"{s}.{p}": array
            for s, sample in enumerate(job.samples)
            for p, array in enumerate(sample)
        }
        np.savez(work / samples, **named)  # type: ignore[arg-type]
        tasks.append(
            {
                "name": job.name,
                "model": model,
                "samples": samples,
                "count": len(job.samples),
                "reference": job.reference,
                "counted_runs": job.counted_runs,
            }
        )
    (work / "task.json").write_text(json.dumps(tasks), encoding="utf-8")


def _results(work: Path, jobs: Sequence[EmulatedRun]) -> dict[str, EmulatedResult]:
    """Read the results of the jobs that finished."""
    found: dict[str, EmulatedResult] = {}
    marks = _marks(work / _LOG)
    for job in jobs:
        outputs = work / f"{job.name}.npz"
        if not outputs.is_file():
            break
        own = job.counted_runs + 1 if job.counted_runs else 0
        found[job.name] = EmulatedResult(_read(outputs, job), _differences(marks[:own]))
        marks = marks[own:]
    return found


def _read(path: Path, job: EmulatedRun) -> tuple[tuple[Array, ...], ...]:
    with np.load(path, allow_pickle=False) as stored:
        per_sample = len(stored.files) // len(job.samples)
        return tuple(
            tuple(stored[f"{s}.{p}"] for p in range(per_sample)) for s in range(len(job.samples))
        )


def _marks(log: Path) -> list[int]:
    """Read the counts that the plugin wrote; the emulator may have stopped in mid-line."""
    if not log.is_file():
        return []
    return [int(n) for n in _EXECUTED.findall(log.read_text(encoding="utf-8", errors="replace"))]


def _differences(marks: Sequence[int]) -> tuple[int, ...]:
    return tuple(after - before for before, after in pairwise(marks))
