"""Run Vela, Arm's compiler for Ethos-U, and read what it writes.

Vela is a Python package with a core in C++, which some models make crash (Vela 5.2: an ADD of
int64 for Ethos-U85).
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

from qhal.errors import RefusedError
from qhal.plugin.readiness import Lack
from qhal_backends.arm.ethosu.configuration import Configuration
from qhal_backends.vendor_compiler import CompilerRun, run_compiler, workspace

INSTALL = "pip install 'quant-hal[arm]'"
DISTRIBUTION = "ethos-u-vela"
TIMEOUT_S = 600

SOURCE = "model.tflite"
COMPILED = "model_vela.tflite"
SUMMARY = "model_vela_summary.csv"
LAYERS = "model_vela_layers.csv"
LOG = "model_vela.log"


def lacks_vela() -> Lack | None:
    """Say what is missing to run Vela; None if nothing is."""
    if find_spec("ethosu") is None or find_spec("ethosu.vela") is None:
        return Lack(f"{DISTRIBUTION} is not installed", INSTALL)
    return None


def vela() -> str:
    """Return Vela's name and version."""
    return f"Vela {version(DISTRIBUTION)}"


@dataclass(frozen=True)
class VelaCompilation:
    """What Vela made of a file.

    Attributes:
        model: the compiled file, in which one custom operator stands for each part on the NPU.
        summary: cycles, memory and bandwidth of the whole, as CSV.
        layers: the same for each operator, as CSV.
        log: all that Vela printed.
    """

    model: bytes
    summary: bytes
    layers: bytes
    log: str


def compile_model(content: bytes, configuration: Configuration) -> VelaCompilation:
    """Compile a ``.tflite`` file.

    Raises:
        RefusedError: Vela does not accept the configuration or the model; quotes its message.
    """
    with workspace(SOURCE, content) as folder:
        done = run_compiler(_command(configuration), folder, TIMEOUT_S)
        if done.code and _LISTING in done.log:
            done = run_compiler(_command(configuration, lists=False), folder, TIMEOUT_S)
        compiled = folder / COMPILED
        if done.code is None:
            raise RefusedError(f"{vela()} fails: {explain_failure(done)}.")
        if done.code or not compiled.is_file():
            raise _refusal(done, configuration)
        summary, layers = (_only(folder, f"*{part}*.csv") for part in ("summary", "per-layer"))
        return VelaCompilation(compiled.read_bytes(), summary, layers, done.log)


_LISTING = "regor_operations_from_database"
"""The function of Vela 5.2 that lists operators on the CPU, which fails beside an ARG_MAX on the
NPU: the model itself is compiled by then."""


def _command(configuration: Configuration, lists: bool = True) -> list[str]:
    """Make the command; names are relative, so that no path of this run is in the log.

    Args:
        configuration: of the target.
        lists: False to leave out the list of operators on the CPU.
    """
    return [
        *(sys.executable, "-P", "-m", "ethosu.vela", SOURCE, "--output-dir", "."),
        *configuration.arguments,
        "--verbose-performance",
        *(("--show-cpu-operations",) if lists else ()),
    ]


def _only(folder: Path, pattern: str) -> bytes:
    return next(folder.glob(pattern)).read_bytes()


def _refusal(done: CompilerRun, configuration: Configuration) -> RefusedError:
    return RefusedError(
        f"{vela()} does not compile the model for {configuration}: {explain_failure(done)}.",
        "`qhal check` lists the unit of each operator; `vela --list-configs` lists the values that "
        "a target's options may have.",
    )


def explain_failure(done: CompilerRun) -> str:
    """Say why there is no compiled file, in one sentence without a full stop."""
    telling = (line for line in done.lines if re.search(r"\berror\b", line, re.IGNORECASE))
    return done.failure(next(telling, done.lines[-1] if done.lines else ""))


# --- reading ----------------------------------------------------------------------

_ON_NPU = "NPU"
"""Where a layer runs, as Vela's table names it."""


def read_summary(content: bytes) -> Mapping[str, str]:
    """Read Vela's summary: column -> value as it is written."""
    return next(csv.DictReader(StringIO(content.decode())))


def read_cycles(layers: bytes, results: Collection[str]) -> Mapping[str, float]:
    """Read the cycles of each operator on the NPU: name of the result -> Vela's estimate.

    Vela splits some operators into several, such as a softmax into 30; the last one makes the
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
    """Read why operators stay on the CPU: name of the result -> Vela's reason."""
    pattern = r"Warning \(supported operators\) operator: \S+, ofm: '(.*)'\nReason: (.*)"
    return {name: reason.strip().rstrip(".") for name, reason in re.findall(pattern, log)}


def read_cpu_count(log: str) -> int | None:
    """Read how many operators Vela left on the CPU; None if it does not say."""
    found = re.search(r"^CPU operators = (\d+)", log, re.MULTILINE)
    return int(found[1]) if found else None
