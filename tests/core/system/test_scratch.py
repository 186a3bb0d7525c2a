"""Temporary folders do not stay, and nobody takes away those that are in use."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

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
