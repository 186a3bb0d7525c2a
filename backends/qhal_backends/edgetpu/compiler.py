"""Call ``edgetpu_compiler`` and read its log.

Options, statuses and failures: coral.ai/docs/edgetpu/compiler and the issues of
google-coral/edgetpu that are named below.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from qhal_backends.vendor_compiler import CompilerRun, run_compiler, workspace

PROGRAM = "edgetpu_compiler"
TIMEOUT_S = 180
SOURCE = "model.tflite"
COMPILED = "model_edgetpu.tflite"
LOG = "model_edgetpu.log"
COMMAND = f"{PROGRAM} -s {SOURCE}"
"""What a user types to compile the artifact by hand."""

MAPPED = "Mapped to Edge TPU"


@dataclass(frozen=True)
class OperatorStatus:
    """One line of the compiler's table: so many operators of a kind, and what became of them."""

    operator: str
    count: int
    status: str


@dataclass(frozen=True)
class EdgetpuCompilation:
    """What the compiler made of an artifact.

    Attributes:
        model: the compiled file; None if there is none.
        log: all that the compiler printed.
        version: of the compiler, as it prints it.
        operators: the table of operators.
        failure: why there is no compiled file, in words; empty if there is one.
    """

    model: bytes | None
    log: str
    version: str = ""
    operators: tuple[OperatorStatus, ...] = ()
    failure: str = ""

    @property
    def mapped(self) -> int:
        """Number of operators on the Edge TPU."""
        return sum(s.count for s in self.operators if s.status == MAPPED)

    @property
    def total(self) -> int:
        """Number of all operators."""
        return sum(s.count for s in self.operators)


def find_compiler() -> str | None:
    """Find the compiler on PATH; None if it is not there."""
    return shutil.which(PROGRAM)


def compile_model(program: str, content: bytes) -> EdgetpuCompilation:
    """Run the compiler on a ``.tflite`` file, in a folder of its own."""
    with workspace(SOURCE, content) as folder:
        source = str(folder / SOURCE)
        command = [program, "-s", "-t", str(TIMEOUT_S), "-o", str(folder), source]
        done = run_compiler(command, folder, TIMEOUT_S, grace_s=20)
        compiled = folder / COMPILED
        model = compiled.read_bytes() if done.code == 0 and compiled.is_file() else None
    failure = "" if model is not None else explain_failure(done)
    return EdgetpuCompilation(
        model, done.log, read_version(done.log), read_statuses(done.log), failure
    )


# --- reading the log --------------------------------------------------------------


def read_version(log: str) -> str:
    """Read the version that the compiler prints first."""
    found = re.search(r"Edge TPU Compiler version (\S+)", log)
    return found.group(1) if found else ""


def read_statuses(log: str) -> tuple[OperatorStatus, ...]:
    """Read the table of operators: name, count and status, in columns."""
    _, found, table = log.partition("Operator ")
    if not found:
        return ()
    lines = (re.match(r"([A-Z0-9_]+)\s+(\d+)\s+(\S.*?)\s*$", line) for line in table.splitlines())
    return tuple(OperatorStatus(m.group(1), int(m.group(2)), m.group(3)) for m in lines if m)


_FAILURES: Mapping[str, str] = {
    "large activation tensors": (
        "the activations are too large for it; use a smaller input (no threshold is published; "
        "see issues 449 and 512 of google-coral/edgetpu)"
    ),
    "Internal compiler error": (
        "it failed with an internal error; version 16 does so less often, and `-d` searches for a "
        "part that compiles (see issues 47, 148, 211 and 337 of google-coral/edgetpu)"
    ),
    "Didn't find op for builtin opcode": (
        "an operator, or its version, is newer than the compiler (see issue 631 of "
        "google-coral/edgetpu)"
    ),
    "dynamic-sized tensors": (
        "a tensor has a dynamic size (see issues 829 and 831 of google-coral/edgetpu)"
    ),
    "Model not quantized": "a tensor is not quantized",
    "More than one subgraph": "the file has more than one subgraph",
    "timed out": f"it did not end within {TIMEOUT_S} s",
}
"""What the compiler prints -> what it means."""


_FRAME = ("Edge TPU Compiler version", "Started a compilation", "Compilation ")
"""How the lines begin that the compiler always prints."""


def explain_failure(done: CompilerRun) -> str:
    """Say why there is no compiled file, in one sentence without a full stop."""
    known = (meaning for words, meaning in _FAILURES.items() if words in done.log)
    said = [line for line in done.lines if not line.startswith(_FRAME)]
    return next(known, done.failure(said[-1] if said else ""))
