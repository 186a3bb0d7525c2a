"""What is put in order even if the process ends first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import PATH

PROGRAM = """
import os, sys
from qhal.system.cleanup import Cleanup

tries = []

def put_in_order():
    tries.append(1)
    print("once", flush=True)
    if sys.argv[1] == "midst" and len(tries) == 1:
        sys.exit(3)

cleanup = Cleanup(put_in_order)
if sys.argv[1] == "copy" and os.fork():
    os.wait()
    os._exit(0)
if sys.argv[1] in ("called", "midst"):
    cleanup()
"""


@pytest.mark.parametrize(("case", "times"), [("called", 1), ("end", 1), ("midst", 2), ("copy", 0)])
def test_it_is_done_once_or_again_when_it_was_interrupted(
    tmp_path: Path, case: str, times: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, case],
        env={**os.environ, "PYTHONPATH": PATH},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.split() == ["once"] * times, done.stderr
