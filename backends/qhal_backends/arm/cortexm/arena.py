"""How much memory TensorFlow Lite Micro needs for a model.

The interpreter on the host prints what it holds to stderr of its process, so it runs in a process
of its own: ``python -m qhal_backends.arm.cortexm.arena FILE``. What other kernels need is computed
from that (:mod:`~qhal_backends.arm.cortexm.needs`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qhal.errors import VerificationError
from qhal.system.children import Ended, run_tied
from qhal.system.scratch import scratch
from qhal_backends.arm.cortexm.cores import Kernels
from qhal_backends.arm.cortexm.interpreter import DISTRIBUTION, label, load_interpreter
from qhal_backends.arm.cortexm.needs import Held, needs_of

TIMEOUT_S = 120


@dataclass(frozen=True)
class Arena:
    """The arena of a model.

    Attributes:
        total_bytes: an arena that the model loads with, on the device.
        planned_bytes: what of it is activations and scratch buffers.
        host_bytes: what the interpreter on the host holds after loading, with its kernels.
        kernels: name of the kernels that the device has.
        report: what the interpreter on the host says.
    """

    total_bytes: int
    planned_bytes: int
    host_bytes: int
    kernels: str
    report: str


def find_arena(content: bytes, report: str, kernels: Sequence[Kernels]) -> Arena:
    """Find the arena that a ``.tflite`` file needs on a device.

    Args:
        content: the file.
        report: of :func:`measure_allocations` for it.
        kernels: those of the device; if several are possible, the ones that need most count.

    Raises:
        VerificationError: it is not a report.
    """
    held = Held(_size(report, "head"), _size(report, "tail"))
    needs = needs_of(content, held, kernels)
    return Arena(needs.total, needs.planned, held.total, needs.kernels.value, report)


def measure_allocations(content: bytes) -> str:
    """Load a ``.tflite`` file, run it once on zeros, and return the allocator's report.

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
    return report_in(done.err)


def report_in(text: str) -> str:
    """Keep the allocator's report, as ``print_allocations`` writes it."""
    lines = [line for line in text.splitlines() if line.startswith("[RecordingMicroAllocator]")]
    return "\n".join([*lines, ""])


def _size(report: str, part: str) -> int:
    found = re.search(rf"Arena allocation {part} (\d+) bytes", report)
    if found is None:
        raise VerificationError(f"{DISTRIBUTION} does not report its allocations.")
    return int(found[1])


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
