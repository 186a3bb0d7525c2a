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
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from qhal.errors import CatalogueError, RefusedError
from qhal.target.profile import TargetProfile

INSTALL = "pip install 'quant-hal[arm]'"
DISTRIBUTION = "ethos-u-vela"
TIMEOUT_S = 600

SOURCE = "model.tflite"
COMPILED = "model_vela.tflite"
SUMMARY = "model_vela_summary.csv"
LAYERS = "model_vela_layers.csv"
LOG = "model_vela.log"

REQUIRED = ("accelerator", "system_config", "memory_mode")
CONFIG_FILE = "vela_config"
OPTIONS = frozenset({*REQUIRED, CONFIG_FILE})
"""Options of a profile; see :class:`Configuration`."""

ARM_CONFIG = "Arm/vela.ini"
"""Arm's own configurations, which are part of the package."""


@dataclass(frozen=True)
class Configuration:
    """For which NPU in which system Vela compiles; its own defaults are never used.

    Attributes:
        accelerator: such as ``ethos-u55-128``: generation and MACs per cycle.
        system_config: section of the configuration file with clock, bandwidths and latencies.
        memory_mode: section that says where weights and activations lie.
        file: the configuration file: a path, or a name inside the package.
    """

    accelerator: str
    system_config: str
    memory_mode: str
    file: str = ARM_CONFIG

    @property
    def is_u85(self) -> bool:
        """True for the generation that has more operators than the two before it."""
        return self.accelerator.startswith("ethos-u85")

    @property
    def arguments(self) -> list[str]:
        """As Vela's command line takes it."""
        return [
            *("--accelerator-config", self.accelerator),
            *("--config", self.file),
            *("--system-config", self.system_config),
            *("--memory-mode", self.memory_mode),
        ]

    def __str__(self) -> str:
        return f"{self.accelerator}, {self.system_config}, {self.memory_mode}"


def configuration_of(target: TargetProfile) -> Configuration:
    """The configuration in a profile's options.

    Raises:
        CatalogueError: one of ``accelerator``, ``system_config`` and ``memory_mode`` is missing.
    """
    options = target.options
    for key in REQUIRED:
        if key not in options:
            raise CatalogueError(
                f"{target.origin or 'targets.toml'}: targets.{target.name}.options has no {key}.",
                "`vela --list-configs Arm/vela.ini` lists system configurations and memory modes.",
            )
    given = {key: options[key] for key in REQUIRED}
    return Configuration(**given, file=options.get(CONFIG_FILE, ARM_CONFIG))


def not_installed() -> str | None:
    """Why Vela cannot run, with the command that mends it; None if it can."""
    if find_spec("ethosu") is None or find_spec("ethosu.vela") is None:
        return f"{DISTRIBUTION} is not installed: {INSTALL}"
    return None


def vela() -> str:
    """Vela's name and version."""
    return f"Vela {version(DISTRIBUTION)}"


@dataclass(frozen=True)
class Compilation:
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


def compile_model(content: bytes, configuration: Configuration) -> Compilation:
    """Compile a ``.tflite`` file.

    Raises:
        RefusedError: Vela does not take the configuration or the model; quotes what it said.
    """
    with TemporaryDirectory(prefix="qhal-vela-") as name:
        folder = Path(name)
        (folder / SOURCE).write_bytes(content)
        done = _run(folder, configuration)
        compiled = folder / COMPILED
        if done.returncode or not compiled.is_file():
            raise _refusal(done, configuration)
        summary, layers = (_only(folder, f"*{part}*.csv") for part in ("summary", "per-layer"))
        return Compilation(compiled.read_bytes(), summary, layers, done.stdout)


def _run(folder: Path, configuration: Configuration) -> subprocess.CompletedProcess[str]:
    """Names are relative to the folder, so that no path of this run is in the log."""
    command = [
        *(sys.executable, "-P", "-m", "ethosu.vela", SOURCE, "--output-dir", "."),
        *configuration.arguments,
        *("--verbose-performance", "--show-cpu-operations"),
    ]
    try:
        return subprocess.run(
            command,
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


def read_summary(content: bytes) -> Mapping[str, str]:
    """Vela's summary: column -> value as it is written."""
    return next(csv.DictReader(StringIO(content.decode())))


def read_reasons(log: str) -> Mapping[str, str]:
    """Why operators stay on the CPU: name of the result -> Vela's reason."""
    pattern = r"Warning \(supported operators\) operator: \S+, ofm: '(.*)'\nReason: (.*)"
    return {name: reason.strip().rstrip(".") for name, reason in re.findall(pattern, log)}


def read_cpu_count(log: str) -> int | None:
    """How many operators Vela left on the CPU; None if it does not say."""
    found = re.search(r"^CPU operators = (\d+)", log, re.MULTILINE)
    return int(found[1]) if found else None
