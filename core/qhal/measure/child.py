"""The child of :mod:`qhal.measure.memory`: ``python -m qhal.measure.child FOLDER PARENT``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from qhal.codec import decode
from qhal.host import peak_memory_bytes
from qhal.measure.memory import TASK_FILE
from qhal.plugin.backend import Artifact, RunOptions
from qhal.plugin.registry import registry
from qhal.system import telemetry
from qhal.system.children import end_with
from qhal.targets.profile import TargetProfile


def main(folder: Path) -> int:
    """Load the artifact, run it once, and print this process's peak memory in bytes."""
    task: dict[str, Any] = json.loads((folder / TASK_FILE).read_text(encoding="utf-8"))
    profile = decode(TargetProfile, task["profile"])
    artifact = Artifact(
        {name: (folder / name).read_bytes() for name in task["files"]},
        task["main"],
        input_names=task["input_names"],
        output_names=task["output_names"],
    )
    runner = registry().backends[profile.backend].load(artifact, profile, RunOptions())
    peak = None
    if runner is not None:
        arrays = (np.load(folder / f"{i}.npy") for i in range(len(task["inputs"])))
        runner.run(dict(zip(task["inputs"], arrays, strict=True)))
        peak = peak_memory_bytes()
    sys.stdout.write(f"{peak or ''}\n")
    return 0 if peak else 1


if __name__ == "__main__":
    end_with(int(sys.argv[2]))
    telemetry.turn_off()
    sys.exit(main(Path(sys.argv[1])))
