"""What is read back from ONNX Runtime."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

from tests.paths import ROOT


def test_a_full_disk_is_no_fault_of_the_backend(tmp_path: Path) -> None:
    """ONNX Runtime only says that a serialization failed."""
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from qhal.plugin.backend import Artifact\n"
        "from qhal_backends.cpu.placement import read_placement\n"
        "content = Path(sys.argv[1]).read_bytes()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try:\n"
        "    read_placement(Artifact({'m.onnx': content}, 'm.onnx'))\n"
        "except OSError as error:\n"
        "    print(error.errno)\n"
    )
    model = ROOT / "examples" / "digits" / "digits.onnx"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code, str(model)],
        env={**environment, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"{errno.EFBIG}\n", done.stderr
    assert list(tmp_path.iterdir()) == []
