"""All samples, targets for Vela, and Vela on many files at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qhal.targets.profile import TargetProfile
from qhal.testing.samples import EDGES, SAMPLES, Sample
from qhal_backends.arm.ethosu.configuration import Configuration

U55 = Configuration("ethos-u55-128", "Ethos_U55_High_End_Embedded", "Shared_Sram")
U65 = Configuration("ethos-u65-256", "Ethos_U65_High_End", "Dedicated_Sram_384KB")
U85 = Configuration("ethos-u85-256", "Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB")


def profile(configuration: Configuration) -> TargetProfile:
    """A target with a configuration."""
    options = {
        "accelerator": configuration.accelerator,
        "system_config": configuration.system_config,
        "memory_mode": configuration.memory_mode,
    }
    return TargetProfile(configuration.accelerator, "ethos-u", "an NPU", options=options)


ALL: tuple[Sample, ...] = (*SAMPLES, *EDGES)


@dataclass(frozen=True)
class Compiled:
    """Names of the tensors that operators on the CPU make; None if Vela gave up."""

    on_cpu: frozenset[str] | None


_COMPILE = """
import sys
from ethosu.vela import vela
for name in open(sys.argv[1]).read().split():
    try:
        vela.main([name + ".tflite", "--output-dir", name, *sys.argv[2:]])
    except (Exception, SystemExit):
        pass
"""


def compile_all(
    folder: Path, models: Sequence[bytes], configuration: Configuration
) -> Mapping[int, Compiled]:
    """Vela on many files, in one process."""
    from qhal_backends.tflite.operators import read_operators

    for index, content in enumerate(models):
        (folder / f"m{index}.tflite").write_bytes(content)
    names = folder / "names"
    names.write_text("\n".join(f"m{index}" for index in range(len(models))))
    command = [sys.executable, "-P", "-c", _COMPILE, str(names), *configuration.arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    found = {}
    for index in range(len(models)):
        file = folder / f"m{index}" / f"m{index}_vela.tflite"
        left = None
        if file.is_file():
            kept = (op for op in read_operators(file.read_bytes()) if op.builtin != "CUSTOM")
            left = frozenset(op.result for op in kept)
        found[index] = Compiled(left)
    return found
