"""No process that qhal starts outlives it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qhal.system.children import tied
from tests.core.system.waiting import wait_until
from tests.paths import PATH


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children")
def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = f"import os, time; open({str(pid)!r}, 'w').write(f'{{os.getpid()}}.'); time.sleep(600)"
    child = [sys.executable, "-c", code]
    parent = (
        f"import subprocess; from qhal.system.children import tied; subprocess.run(tied({child!r}))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent], env={**os.environ, "PYTHONPATH": PATH}
    ) as process:
        try:
            wait_until(lambda: pid.exists() and pid.read_text().endswith("."), process)
        finally:
            process.kill()
    number = int(pid.read_text()[:-1])
    deadline = time.monotonic() + 30
    while _is_alive(number):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_tied_command_is_the_command(tmp_path: Path) -> None:
    command = tied([sys.executable, "-c", "import os, sys; print(os.getcwd()); sys.exit(7)"])
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (7, str(tmp_path))
