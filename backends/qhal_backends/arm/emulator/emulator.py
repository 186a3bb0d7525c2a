"""Run artifacts on an emulated core, and count the instructions that they execute."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from qhal.errors import VerificationError
from qhal.plugin.backend import Array
from qhal_backends.arm.cortexa_cores import Core
from qhal_backends.arm.emulator.counter import prepare_counter
from qhal_backends.arm.emulator.debian import PYTHON
from qhal_backends.arm.emulator.folder import QEMU, Folder

GUEST = Path(__file__).with_name("guest.py")
TIMEOUT_S = 120.0

_EXECUTED = re.compile(r"^executed (\d+)$", re.MULTILINE)
_LOG = "qemu.log"


@dataclass(frozen=True, eq=False)
class Job:
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
class Result:
    """What came of a job.

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
        """How far apart the counted runs are, as a fraction of their median."""
        return (max(self.instructions) - min(self.instructions)) / self.instructions_per_run


@dataclass(frozen=True)
class Emulation:
    """What an emulated process did.

    Attributes:
        results: of the jobs that came to their end, by name.
        problem: why others did not; empty if all did.
    """

    results: Mapping[str, Result]
    problem: str = ""


@dataclass(frozen=True)
class Emulator:
    """User-mode QEMU with one core, and the arm64 root that it runs in.

    The core is always named: the default, ``max``, has instructions that no such device has, and
    XNNPACK's int8 kernels for them compute wrong results there.
    """

    folder: Folder
    core: Core

    def run(self, jobs: Sequence[Job], timeout_s: float = TIMEOUT_S) -> Emulation:
        """Do jobs in order, in one process with one thread.

        Raises:
            MissingDependencyError: QEMU or the compiler is missing.
        """
        with TemporaryDirectory(prefix="qhal-arm-") as name:
            work = Path(name)
            _write(work, jobs)
            problem = self._execute(work, timeout_s)
            marks = _marks(work / _LOG)
            results, position = {}, 0
            for job in jobs:
                if not (work / f"{job.name}.npz").is_file():
                    break
                expected = job.counted_runs + 1 if job.counted_runs else 0
                counts = _differences(marks[position : position + expected])
                position += expected
                results[job.name] = Result(_read(work / f"{job.name}.npz", job), counts)
        return Emulation(results, problem)

    def command(self, script: Path, *arguments: str, log: Path | None = None) -> list[str]:
        """The command that runs a Python script; with ``log``, executed instructions go there."""
        counting = [] if log is None else self._counting(log)
        python = self.folder.root / "usr" / "bin" / f"python{PYTHON}"
        root = self.folder.core(self.core.name)
        emulator = [QEMU, "-cpu", self.core.name, "-L", str(root), *counting]
        return [*emulator, str(python), "-s", "-S", str(script), *arguments]

    def environment(self, *, keep_bytecode: bool = False) -> dict[str, str]:
        """All environment variables of the guest: nothing of the host's may change a count."""
        keep = {} if keep_bytecode else {"PYTHONDONTWRITEBYTECODE": "1"}
        return {
            "LC_ALL": "C.UTF-8",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": str(self.folder.site),
            "PYTHONPYCACHEPREFIX": str(self.folder.bytecode),
            **keep,
        }

    def _counting(self, log: Path) -> list[str]:
        return ["-plugin", str(prepare_counter(self.folder)), "-d", "plugin", "-D", str(log)]

    def _execute(self, work: Path, timeout_s: float) -> str:
        """Run the guest; returns why it did not come to its end."""
        try:
            done = subprocess.run(
                self.command(GUEST, str(work), log=work / _LOG),
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"the emulation took longer than {timeout_s:g} s"
        if not done.returncode:
            return ""
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return f"the emulation ended with {done.returncode}: {last.rstrip('.')}"


def differing(
    ours: Sequence[Sequence[Array]], theirs: Sequence[Sequence[Array]]
) -> tuple[int, int]:
    """How many elements of all outputs have other bits, and how many there are.

    Raises:
        VerificationError: shapes or types differ.
    """
    other = total = 0
    for ours_of_sample, theirs_of_sample in zip(ours, theirs, strict=True):
        for mine, its in zip(ours_of_sample, theirs_of_sample, strict=True):
            if mine.shape != its.shape or mine.dtype != its.dtype:
                raise VerificationError(
                    f"The emulated target gives {its.dtype}{list(its.shape)} where this host "
                    f"gives {mine.dtype}{list(mine.shape)}."
                )
            other += int(np.count_nonzero(_bits(mine) != _bits(its)))
            total += mine.size
    return other, total


def _bits(array: Array) -> Array:
    """As unsigned integers, so that equal bits are equal, NaN included."""
    return np.ascontiguousarray(array).view(f"u{array.itemsize}")


def _write(work: Path, jobs: Sequence[Job]) -> None:
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


def _read(path: Path, job: Job) -> tuple[tuple[Array, ...], ...]:
    with np.load(path, allow_pickle=False) as stored:
        per_sample = len(stored.files) // len(job.samples)
        return tuple(
            tuple(stored[f"{s}.{p}"] for p in range(per_sample)) for s in range(len(job.samples))
        )


def _marks(log: Path) -> list[int]:
    """The counts that the plugin wrote; the emulator may have been stopped in mid-line."""
    if not log.is_file():
        return []
    return [int(n) for n in _EXECUTED.findall(log.read_text(encoding="utf-8", errors="replace"))]


def _differences(marks: Sequence[int]) -> tuple[int, ...]:
    return tuple(after - before for before, after in pairwise(marks))
