"""What runs inside the emulator: load artifacts, run samples, let the emulator count.

Started as a script by an emulated Python that has nothing but the standard library, NumPy and
LiteRT. Its only argument is a folder with ``task.json``; the results go there, too: for every job
``<name>.npz`` with the outputs ``<sample>.<position>``, which appears when the job is done.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main(folder: Path) -> None:
    """Do the jobs in order."""
    for job in json.loads((folder / "task.json").read_text(encoding="utf-8")):
        run(folder, job)


def run(folder: Path, job: dict[str, Any]) -> None:
    """Run every sample once, then the last one as many more times as are to be counted."""
    import numpy as np

    interpreter = load(folder / job["model"], job["reference"])
    inputs = [detail["index"] for detail in interpreter.get_input_details()]
    outputs = [detail["index"] for detail in interpreter.get_output_details()]
    results = {}
    with np.load(folder / job["samples"]) as samples:
        for sample in range(job["count"]):
            for position, index in enumerate(inputs):
                interpreter.set_tensor(index, samples[f"{sample}.{position}"])
            interpreter.invoke()
            for position, index in enumerate(outputs):
                results[f"{sample}.{position}"] = interpreter.get_tensor(index)
    count(interpreter.invoke, job["counted_runs"])
    unfinished = folder / f"{job['name']}.unfinished.npz"
    np.savez(unfinished, **results)
    unfinished.rename(folder / f"{job['name']}.npz")


def load(model: Path, reference: bool) -> Any:
    """Make an interpreter as :func:`qhal_backends.tflite.runner.load_interpreter` does."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    names = [OpResolverType.AUTO]
    if reference:
        names = [OpResolverType.BUILTIN_REF, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES]
    for name in names:
        try:
            interpreter = Interpreter(
                model_path=str(model), num_threads=1, experimental_op_resolver_type=name
            )
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            reason = error
        else:
            return interpreter
    raise reason


def count(invoke: Any, runs: int) -> None:
    """Run inferences between calls of getppid, at which the plugin writes its count."""
    if runs:
        for _ in range(runs):
            os.getppid()
            invoke()
        os.getppid()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
