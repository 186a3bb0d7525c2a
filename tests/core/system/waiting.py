"""Wait for what another process does; never for ever."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

PATIENCE_S = 60


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Return as soon as a condition holds; fail if the process ends before, or after a minute."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, f"it ended with exit code {process.returncode}"
        assert time.monotonic() < deadline, f"nothing came within {PATIENCE_S} s"
        time.sleep(0.02)
