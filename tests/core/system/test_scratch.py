"""Temporary folders do not stay, and nobody takes away those that are in use."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qhal.errors import OutputError
from qhal.system.scratch import scratch
from tests.paths import PATH


def test_folders_of_killed_runs_go_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    lines = (
        "import os; from qhal.system.scratch import scratch",
        "with scratch(): os.kill(os.getpid(), 9)",
    )
    code = "\n".join(lines)
    environment = {**os.environ, "PYTHONPATH": PATH, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert len(list(tmp_path.iterdir())) == 1
    (tmp_path / "qhal-notes").mkdir()
    with scratch() as first, scratch() as second:
        assert first.is_dir()
        assert second.is_dir()
        assert len(list(tmp_path.iterdir())) == 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["qhal-notes"]


def test_folders_that_are_made_at_once_do_not_sweep_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def use(number: int) -> bool:
        with scratch() as folder:
            (folder / "file").write_text(str(number))
            return (folder / "file").read_text() == str(number)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(200)))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may list any folder, so that rights alone do not show it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("qhal.system.scratch.os.scandir", refuse)
    with scratch() as folder:
        assert folder.is_dir()


def test_no_folder_for_temporary_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(OutputError, match="Cannot create a temporary folder") as caught, scratch():
        pass
    assert "TMPDIR" in caught.value.hint


def test_a_folder_named_by_the_environment_that_is_gone(tmp_path: Path) -> None:
    code = (
        "from qhal.system.scratch import scratch\nwith scratch() as folder: print(folder.is_dir())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": PATH, "TMPDIR": str(tmp_path / "gone")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "True\n", done.stderr
