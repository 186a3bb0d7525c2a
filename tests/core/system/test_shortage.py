"""What the machine lacks is said as such, and is nobody's bug."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from qhal.errors import LimitError, OutOfMemoryError, QhalError
from qhal.system.shortage import shortage
from tests.paths import ROOT

DIGITS = ROOT / "examples" / "digits"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.EMFILE, "Too many open files", "x.npy"), LimitError),
        (OSError(errno.ENFILE, "Too many open files in system"), LimitError),
        (RuntimeError("can't start new thread"), LimitError),
        (ImportError("libz.so: cannot open shared object file: Error 24"), LimitError),
        (ImportError("libz.so: failed to map segment from shared object"), OutOfMemoryError),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), OutOfMemoryError),
        (RuntimeError("mmap failed: Cannot allocate memory"), OutOfMemoryError),
        (MemoryError(), OutOfMemoryError),
    ],
)
def test_what_lacks(error: Exception, kind: type[QhalError]) -> None:
    found = shortage(error)
    assert type(found) is kind
    assert "ulimit" in found.hint


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOENT, "No such file"),
        BlockingIOError(errno.EAGAIN, "write could not complete without blocking"),
        ImportError("libgomp.so.1: cannot allocate memory in static TLS block"),
        RuntimeError("boo"),
        RuntimeError("Error 2405: unsupported operator"),
        KeyError("Error 24"),
    ],
)
def test_what_is_no_want_of_the_machine(error: Exception) -> None:
    assert shortage(error) is None


def test_the_cause_tells_too() -> None:
    error = ValueError("cannot be loaded")
    error.__cause__ = OSError(errno.EMFILE, "Too many open files")
    assert isinstance(shortage(error), LimitError)


NO_PROCESS = """
import os, resource, subprocess, sys
from qhal.system.shortage import shortage
if os.getuid() == 0:
    os.setuid(65534)  # limits of processes do not bind root
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
try:
    subprocess.run(["true"], preexec_fn=int)
except OSError as error:
    print(error.errno, type(shortage(error)).__name__)
"""


def test_a_process_that_cannot_start_is_a_want() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_PROCESS], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == [str(errno.EAGAIN), "LimitError"], done.stderr


def limited(most: int) -> Callable[[], None]:
    return partial(resource.setrlimit, resource.RLIMIT_NOFILE, (most, most))


@pytest.mark.parametrize("most", [5, 9, 14, 17])
def test_few_open_files_end_in_one_clear_error_or_not_at_all(most: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "qhal.cli", "deploy", str(DIGITS / "digits.onnx")]
    command += ["--data", str(DIGITS / "calibration.npz"), "--target", "cpu", "--out", "out"]
    done = subprocess.run(
        [*command, "--calib-samples", "8"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path), "QHAL_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limited(most),
    )
    assert done.returncode in (0, 2), done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out").exists() == (done.returncode == 0)
    assert not list(tmp_path.glob("qhal-*"))
    if done.returncode:
        assert done.stderr.startswith("error QH")
