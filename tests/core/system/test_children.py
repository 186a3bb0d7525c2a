"""No process that qhal starts outlives it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qhal.system.children import run_tied, tied
from tests.core.system.waiting import is_alive, wait_until
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
    while is_alive(number):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_tied_command_is_the_command(tmp_path: Path) -> None:
    command = tied([sys.executable, "-c", "import os, sys; print(os.getcwd()); sys.exit(7)"])
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (7, str(tmp_path))


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_program_that_ends(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd(), os.environ); sys.stderr.write('!'); sys.exit(3)"
    done = run_tied(python(code), 60, folder=tmp_path, environment={"ONLY": "this"})
    assert (done.code, done.err, done.problem) == (3, "!", "")
    assert str(tmp_path) in done.out
    assert "HOME" not in done.out
    assert done.failure("No.") == "ended with exit code 3 and printed: No"


def test_a_program_that_crashes() -> None:
    done = run_tied(python("import os; os.kill(os.getpid(), 11)"), 60)
    assert done.failure() == "crashed with signal 11"


def test_a_program_that_does_not_end_still_says_what_it_said() -> None:
    done = run_tied(python("import time; print('working', flush=True); time.sleep(600)"), 1)
    assert (done.code, done.out) == (None, "working\n")
    assert done.failure("working") == "did not end within 1 s and printed: working"


def test_a_child_that_the_program_leaves_behind_is_not_waited_for() -> None:
    """It holds the ends of what would be pipes."""
    code = "import os, time; print(os.getpid() if os.fork() else time.sleep(5) or '', flush=True)"
    start = time.monotonic()
    assert run_tied(python(code), 60).code == 0
    assert time.monotonic() - start < 4


@pytest.mark.parametrize("command", ["/nowhere/program", "no-such-program", "/etc/passwd"])
def test_a_program_that_does_not_start(command: str) -> None:
    done = run_tied([command], 60)
    assert done.code is None
    assert done.problem.startswith("does not start: ")


def test_a_system_that_starts_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run_tied(python(""), 60, folder=tmp_path / "gone").problem.startswith("does not start")

    def refuse(*arguments: object, **named: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert run_tied(python(""), 60).failure() == "does not start: Resource temporarily unavailable"
