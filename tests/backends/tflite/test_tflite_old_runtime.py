"""The artifacts run in tflite-runtime 2.14, which lives in an environment of its own.

``QHAL_TFLITE_RUNTIME`` names a Python interpreter (3.11 or older) that has ``tflite-runtime`` and
``numpy<2``; without it these tests are skipped.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qhal.ir.graph import Array
from qhal_backends.tflite.family import MODEL
from qhal_backends.tflite.rows import INT4_WEIGHTED
from tests.backends.one_node import deploy_row
from tests.backends.tflite.test_tflite_rows import BACKEND, CAPS, REFERENCE, TARGET, TRIALS, stored

SCRIPT = Path(__file__).with_name("old_runtime.py")


@pytest.fixture
def old_python() -> str:
    """The interpreter that has tflite-runtime."""
    path = os.environ.get("QHAL_TFLITE_RUNTIME", "")
    if not path:
        pytest.skip("QHAL_TFLITE_RUNTIME names no interpreter with tflite-runtime")
    return path


def save(folder: Path, name: str, content: bytes, arrays: Mapping[str, Array]) -> None:
    (folder / f"{name}.tflite").write_bytes(content)
    stored: dict[str, Any] = dict(arrays)
    np.savez(folder / f"{name}.npz", **stored)


def test_every_row_runs_in_tflite_runtime(old_python: str, tmp_path: Path) -> None:
    for index, (sample, capability, row) in enumerate(TRIALS):
        deployed = deploy_row(sample, capability, row, CAPS)
        artifact, inputs = BACKEND.lower(deployed.model, TARGET), stored(deployed)
        outputs = BACKEND.load(artifact, TARGET, REFERENCE).run(inputs)
        if "dynamic" in row.name:  # the delegate of the old runtime quantizes them otherwise
            continue
        if row.name == INT4_WEIGHTED.name:  # its operator's version is that of TensorFlow Lite 2.17
            continue
        arrays = {f"in{i}": inputs[n] for i, n in enumerate(artifact.input_names)}
        arrays |= {f"out{i}": outputs[n] for i, n in enumerate(artifact.output_names)}
        save(tmp_path, f"{index:03}-{sample.op.kind}-{row.name}", artifact.files[MODEL], arrays)
    done = subprocess.run(
        [old_python, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
