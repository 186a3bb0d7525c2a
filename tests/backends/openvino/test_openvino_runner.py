"""OpenVINO inside this process: what is left behind when compiled models go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from qhal.ir import ops
from qhal.plugin.registry import registry
from qhal_backends.openvino.plugin import OpenVinoBackend
from tests.backends.openvino.openvino_models import Constant, quantize, single

pytest.importorskip("openvino", reason="pip install 'quant-hal[openvino]'")

SIGNAL = """
import signal, sys
from pathlib import Path
from qhal.plugin.backend import Artifact
from qhal_backends.openvino.runner import compile_model

folder = Path(sys.argv[1])
artifact = Artifact({path.name: path.read_bytes() for path in folder.iterdir()}, "model.xml")
first = compile_model(artifact, "CPU", 1)
second = compile_model(artifact, "CPU", 1)
del first
del second
signal.signal(signal.SIGINT, lambda number, frame: sys.exit(7))
signal.raise_signal(signal.SIGINT)
"""


def test_a_signal_arrives_when_compiled_models_have_gone(tmp_path: Path) -> None:
    made = quantize(single(ops.FullyConnected(), [(2, 32), Constant((10, 32))]))
    artifact = OpenVinoBackend().lower(made.model, registry().profile("openvino-cpu"))
    for name, content in artifact.files.items():
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, "-c", SIGNAL, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 7, done.stderr
