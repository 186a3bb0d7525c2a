"""Peak memory of loading and running an artifact, in a process of its own.

The child is :mod:`qhal.measure.child`; both sides exchange a folder with the artifact's files,
the inputs, the backend as it was handed in, and ``task.json``.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from qhal.artifact.runnable import Runnable
from qhal.codec import encode
from qhal.decisions import Code, Decision
from qhal.errors import OutputError, in_one_line
from qhal.ir.graph import Array
from qhal.measure.timing import Clocked, Pair
from qhal.metric import Basis, Metric
from qhal.system.scratch import scratch

TASK_FILE = "task.json"
BACKEND_FILE = "backend.pickle"
TIMEOUT_S = 60.0
_NOTE = "a fresh Python process that loads the artifact and runs it once, interpreter included"


@dataclass(frozen=True)
class Peaks:
    """Peak memories.

    Attributes:
        metrics: name -> number, of what could be measured.
        decisions: why the others could not.
    """

    metrics: Mapping[str, Metric] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()


class UnmeasuredError(Exception):
    """Says why a peak could not be measured, without a full stop."""


def peak_memories(pair: Pair, clocked: Clocked) -> Peaks:
    """Measure the peak memory of what ran; the child processes run side by side.

    Args:
        pair: what to load.
        clocked: says what runs on this host at all.
    """
    ran: dict[str, Runnable] = {}
    if clocked.subject is not None:
        ran["peak_memory"] = pair.subject
    if pair.baseline is not None and clocked.baseline is not None:
        ran["peak_memory_float"] = pair.baseline
    with ThreadPoolExecutor(2) as pool:
        peaks = list(pool.map(lambda r: _peak_or_why(r, r.trial(pair.sample).inputs), ran.values()))
    named = zip(ran, peaks, strict=True)
    metrics = {name: peak for name, peak in named if isinstance(peak, Metric)}
    reasons = dict.fromkeys(peak for peak in peaks if isinstance(peak, str))
    return Peaks(metrics, tuple(map(_unmeasured, reasons)))


def _peak_or_why(subject: Runnable, inputs: Mapping[str, Array]) -> Metric | str:
    try:
        return peak_memory(subject, inputs)
    except UnmeasuredError as error:
        return str(error)


def _unmeasured(why: str) -> Decision:
    return Decision(Code.MEMORY_UNMEASURED, f"Peak memory was not measured: {why}.")


def peak_memory(subject: Runnable, inputs: Mapping[str, Array]) -> Metric:
    """Measure the peak memory of a fresh process that loads the artifact and runs it once.

    Args:
        subject: what to load, with its own backend, whether or not that is installed.
        inputs: one sample in the artifact's own types.

    Raises:
        UnmeasuredError: the child process cannot do it: the system does not report it, or the
            backend cannot be sent to another process, or does not work there.
    """
    try:
        with scratch() as folder:
            _write(folder, subject, inputs)
            done = _run(folder)
    except OutputError as error:  # there is no place for a folder
        raise UnmeasuredError(error.message.rstrip(".")) from error
    except (OSError, MemoryError) as error:
        said = f"the files for another process cannot be written, {in_one_line(error)}"
        raise UnmeasuredError(said) from error
    last = done.stdout.strip().rpartition("\n")[2]
    if done.returncode or not last.isdigit():
        raise UnmeasuredError(last.rstrip(".") or f"the process ended with {done.returncode}")
    return Metric(int(last), "bytes", Basis.MEASURED_HOST, note=_NOTE)


def _run(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the child to its end."""
    command = [sys.executable, "-P", "-m", "qhal.measure.child", str(folder), str(os.getpid())]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise UnmeasuredError(f"it takes more than {TIMEOUT_S:g} s") from None
    except (OSError, MemoryError) as error:
        raise UnmeasuredError(f"no process can be started, {in_one_line(error)}") from error


def _write(folder: Path, subject: Runnable, inputs: Mapping[str, Array]) -> None:
    artifact = subject.artifact
    (folder / BACKEND_FILE).write_bytes(_pickled(subject))
    for name, content in artifact.files.items():
        (folder / name).write_bytes(content)
    for index, array in enumerate(inputs.values()):
        np.save(folder / f"{index}.npy", array, allow_pickle=False)
    task = {
        "profile": encode(subject.profile),
        "main": artifact.main,
        "files": list(artifact.files),
        "inputs": list(inputs),
        "input_names": dict(artifact.input_names),
        "output_names": dict(artifact.output_names),
    }
    (folder / TASK_FILE).write_text(json.dumps(task), encoding="utf-8")


def _pickled(subject: Runnable) -> bytes:
    try:
        return pickle.dumps(subject.provided)
    except Exception as error:  # whatever the backend's parts raise
        said = f"the {subject.provided.name} cannot be sent to another process"
        raise UnmeasuredError(f"{said}: {in_one_line(error)}") from error
