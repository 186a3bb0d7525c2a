"""Peak memory of loading and running an artifact, in a process of its own.

The child is :mod:`qhal.measure.child`; both sides exchange a folder with the artifact's files,
the inputs, and ``task.json``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from qhal.artifact.runnable import Runnable
from qhal.codec import encode
from qhal.ir.graph import Array
from qhal.measure.timing import Clocked, Pair
from qhal.metric import Basis, Metric
from qhal.system.scratch import scratch

TASK_FILE = "task.json"
TIMEOUT_S = 60.0
_NOTE = "a fresh Python process that loads the artifact and runs it once, interpreter included"


def peak_memories(pair: Pair, clocked: Clocked) -> dict[str, Metric]:
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
        peaks = pool.map(lambda r: peak_memory(r, r.trial(pair.sample).inputs), ran.values())
        return {name: peak for name, peak in zip(ran, peaks, strict=True) if peak is not None}


def peak_memory(subject: Runnable, inputs: Mapping[str, Array]) -> Metric | None:
    """Measure the peak memory of a fresh process that loads the artifact and runs it once.

    Args:
        subject: what to load; its backend must be installed as a plugin.
        inputs: one sample in the artifact's own types.

    Returns:
        None where the child process cannot do it: the system has no /proc, or the backend is
        not an installed plugin.
    """
    with scratch() as folder:
        _write(folder, subject, inputs)
        command = [sys.executable, "-P", "-m", "qhal.measure.child", str(folder), str(os.getpid())]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
    last = done.stdout.strip().rpartition("\n")[2]
    if done.returncode or not last.isdigit():
        return None
    return Metric(int(last), "bytes", Basis.MEASURED_HOST, note=_NOTE)


def _write(folder: Path, subject: Runnable, inputs: Mapping[str, Array]) -> None:
    artifact = subject.artifact
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
