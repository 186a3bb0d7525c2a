"""Running Vela, Arm's compiler for Ethos-U, and reading what it writes.

Vela is a package of Python with a core in C++. It runs in a process of its own: the core writes
to the file descriptors of its process, and some models make it crash (Vela 5.2: an ADD of int64
for Ethos-U85), which has to end as a sentence and not as the end of qhal.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

from qhal.children import tied
from qhal.errors import RefusedError
from qhal.scratch import scratch
from qhal_backends.arm.ethosu.configuration import Configuration

INSTALL = "pip install 'quant-hal[arm]'"
DISTRIBUTION = "ethos-u-vela"
TIMEOUT_S = 600

SOURCE = "model.tflite"
COMPILED = "model_vela.tflite"
SUMMARY = "model_vela_summary.csv"
LAYERS = "model_vela_layers.csv"
LOG = "model_vela.log"


def not_installed() -> str | None:
    """Why Vela cannot run, with the command that mends it; None if it can."""
    if find_spec("ethosu") is None or find_spec("ethosu.vela") is None:
        return f"{DISTRIBUTION} is not installed: {INSTALL}"
    return None


def vela() -> str:
    """Vela's name and version."""
    return f"Vela {version(DISTRIBUTION)}"


@dataclass(frozen=True)
class VelaCompilation:
    """What Vela made of a file.

    Attributes:
        model: the compiled file, in which one custom operator stands for each part on the NPU.
        summary: cycles, memory and bandwidth of the whole, as CSV.
        layers: the same for each operator, as CSV.
        log: all that Vela said.
    """

    model: bytes
    summary: bytes
    layers: bytes
    log: str


def compile_model(content: bytes, configuration: Configuration) -> VelaCompilation:
    """Compile a ``.tflite`` file.

    Raises:
        RefusedError: Vela does not take the configuration or the model; quotes what it said.
    """
    with scratch() as folder:
        (folder / SOURCE).write_bytes(content)
        done = _run(folder, configuration)
        compiled = folder / COMPILED
        if done.returncode or not compiled.is_file():
            raise _refusal(done, configuration)
        summary, layers = (_only(folder, f"*{part}*.csv") for part in ("summary", "per-layer"))
        return VelaCompilation(compiled.read_bytes(), summary, layers, done.stdout)


def _run(folder: Path, configuration: Configuration) -> subprocess.CompletedProcess[str]:
    """Names are relative to the folder, so that no path of this run is in the log."""
    command = [
        *(sys.executable, "-P", "-m", "ethosu.vela", SOURCE, "--output-dir", "."),
        *configuration.arguments,
        *("--verbose-performance", "--show-cpu-operations"),
    ]
    try:
        return subprocess.run(
            tied(command),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
            cwd=folder,
        )
    except subprocess.TimeoutExpired as error:
        raise RefusedError(f"{vela()} did not end within {TIMEOUT_S} s.") from error


def _only(folder: Path, pattern: str) -> bytes:
    return next(folder.glob(pattern)).read_bytes()


def _refusal(done: subprocess.CompletedProcess[str], configuration: Configuration) -> RefusedError:
    return RefusedError(
        f"{vela()} does not compile the model for {configuration}: "
        f"{explain_failure(done.stdout, done.returncode)}.",
        "`qhal check` lists what each operator runs on; `vela --list-configs` what a profile's "
        "options may name.",
    )


def explain_failure(log: str, code: int) -> str:
    """Why there is no compiled file, in one sentence without a full stop."""
    if code < 0:
        return f"it crashed with signal {-code}"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    telling = (line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE))
    said = next(telling, lines[-1] if lines else "")
    return f"it ended with code {code}" + (f" and said: {said.rstrip('.')}" if said else "")


# --- reading ----------------------------------------------------------------------

_ON_NPU = "NPU"
"""Where a layer runs, as Vela's table says it."""


def read_summary(content: bytes) -> Mapping[str, str]:
    """Vela's summary: column -> value as it is written."""
    return next(csv.DictReader(StringIO(content.decode())))


def read_cycles(layers: bytes, results: Collection[str]) -> Mapping[str, float]:
    """Cycles of each operator on the NPU: name of the result -> Vela's estimate.

    Vela cuts some operators into several, such as a softmax into 30, whose last one makes the
    result.

    Args:
        layers: Vela's table of layers, in execution order.
        results: of the operators of the file that was compiled.
    """
    cycles: dict[str, float] = {}
    waiting = 0.0
    for row in csv.DictReader(StringIO(layers.decode())):
        if row["Target"] != _ON_NPU:
            continue
        waiting += float(row["Op Cycles"])
        if row["Name"] in results:
            cycles[row["Name"]] = cycles.get(row["Name"], 0.0) + waiting
            waiting = 0.0
    return cycles


def read_reasons(log: str) -> Mapping[str, str]:
    """Why operators stay on the CPU: name of the result -> Vela's reason."""
    pattern = r"Warning \(supported operators\) operator: \S+, ofm: '(.*)'\nReason: (.*)"
    return {name: reason.strip().rstrip(".") for name, reason in re.findall(pattern, log)}


def read_cpu_count(log: str) -> int | None:
    """How many operators Vela left on the CPU; None if it does not say."""
    found = re.search(r"^CPU operators = (\d+)", log, re.MULTILINE)
    return int(found[1]) if found else None
