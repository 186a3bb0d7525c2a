"""Wait for what another process does; never for ever."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 60


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Return as soon as a condition holds; fail if the process ends before, or after a minute."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, f"it ended with exit code {process.returncode}"
        assert time.monotonic() < deadline, f"nothing came within {PATIENCE_S} s"
        time.sleep(0.02)


def is_alive(number: int) -> bool:
    """Return True if a process runs on Linux; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
