"""How much memory TensorFlow Lite Micro allocates for a model.

The interpreter prints it to stderr of its process, so it runs in a process of its own:
``python -m qhal_backends.arm.cortexm.arena FILE``.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qhal.errors import VerificationError
from qhal.system.children import Ended, run_tied
from qhal.system.scratch import scratch
from qhal_backends.arm.cortexm.interpreter import label, load_interpreter

TIMEOUT_S = 120


@dataclass(frozen=True)
class Arena:
    """What the recording allocator reports after one inference.

    Attributes:
        total_bytes: the arena that the model needs.
        text: the whole report.
    """

    total_bytes: int
    text: str


def measure_arena(content: bytes) -> Arena:
    """Load a ``.tflite`` file, run it once on zeros, and read the allocator's report.

    Raises:
        VerificationError: the interpreter does not load or run the file; quotes why.
    """
    with scratch() as folder:
        file = folder / "model.tflite"
        file.write_bytes(content)
        command = [sys.executable, "-P", "-m", "qhal_backends.arm.cortexm.arena", str(file)]
        done = run_tied(command, TIMEOUT_S)
    if done.code != 0:
        raise VerificationError(
            f"{label()} does not run the artifact: {_said(done)}.",
            "This is a bug in qhal or in the runtime; please report it with the model.",
        )
    return read_arena(done.err)


def read_arena(text: str) -> Arena:
    """Read the allocator's report, as ``print_allocations`` writes it.

    Raises:
        VerificationError: there is no report in the text.
    """
    lines = [line for line in text.splitlines() if line.startswith("[RecordingMicroAllocator]")]
    report = "\n".join([*lines, ""])
    total = re.search(r"Arena allocation total (\d+) bytes", report)
    if total is None:
        raise VerificationError(f"{label()} does not report its allocations.")
    return Arena(int(total[1]), report)


def _said(done: Ended) -> str:
    """Say why it failed: the first line, which is the interpreter's, or how the process ended."""
    lines = [line.strip() for line in done.err.splitlines() if line.strip()]
    if lines and done.code is not None and done.code > 0:
        return lines[0].rstrip(".")
    return f"it {done.failure(lines[0] if lines else '')}"


def main(file: Path) -> None:
    """Run a file on zeros and let the interpreter print its allocations."""
    interpreter = load_interpreter(file.read_bytes())
    for index in range(_input_count(file.read_bytes())):
        details = interpreter.get_input_details(index)
        interpreter.set_input(np.zeros(details["shape"], details["dtype"]), index)
    interpreter.invoke()
    interpreter.print_allocations()


def _input_count(content: bytes) -> int:
    from ai_edge_litert import schema_py_generated as schema

    return len(schema.ModelT.InitFromPackedBuf(content, 0).subgraphs[0].inputs)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
