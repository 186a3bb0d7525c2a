"""What the child of :mod:`qhal.measure.memory` does: the peak memory of its own process."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np

from qhal.codec import decode
from qhal.errors import QhalError, in_one_line
from qhal.host import peak_memory_bytes
from qhal.measure.memory import BACKEND_FILE, TASK_FILE
from qhal.plugin.backend import Artifact, Backend, RunOptions
from qhal.plugin.calls import call
from qhal.plugin.provided import Provided
from qhal.targets.profile import TargetProfile


def tell_peak(folder: Path) -> int:
    """Load the artifact and run it once; print this process's peak memory in bytes, or why not."""
    try:
        peak, why = _peak(folder), "this system does not report the peak memory of a process"
    except QhalError as error:
        peak, why = None, error.message
    except Exception as error:  # noqa: BLE001 - whatever a backend's modules raise
        peak, why = None, in_one_line(error)
    sys.stdout.write(f"{peak or why}\n")
    return 0 if peak else 1


def _peak(folder: Path) -> int | None:
    task: dict[str, Any] = json.loads((folder / TASK_FILE).read_text(encoding="utf-8"))
    profile = decode(TargetProfile, task["profile"])
    artifact = Artifact(
        {name: (folder / name).read_bytes() for name in task["files"]},
        task["main"],
        input_names=task["input_names"],
        output_names=task["output_names"],
    )
    # The parent wrote it, in a folder that nobody else can write to.
    provided: Provided = pickle.loads((folder / BACKEND_FILE).read_bytes())
    runner = call(provided, Backend.load, artifact, profile, RunOptions())
    if runner is not None:
        arrays = (np.load(folder / f"{i}.npy") for i in range(len(task["inputs"])))
        runner.run(dict(zip(task["inputs"], arrays, strict=True)))
    return peak_memory_bytes()
