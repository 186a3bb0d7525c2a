"""Files that users name, and folders that are locked."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from qhal.system.files import (
    exists,
    if_abandoned,
    is_file,
    is_folder,
    locked_folder,
    plain,
    remove_tree,
    try_lock,
)
from tests.paths import PATH


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    assert plain(tmp_path / "file") == tmp_path / "file"
    for path, words in ((tmp_path / "pipe", "a named pipe"), (Path("/dev/null"), "a device")):
        with pytest.raises(OSError, match=words):
            plain(path)
    with pytest.raises(OSError, match="NUL"):
        plain(Path("a\0b"))


def test_a_name_that_no_file_can_have_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    impossible = tmp_path / ("a" * 300)
    assert not exists(impossible)
    assert not is_folder(impossible)
    assert is_folder(tmp_path)
    assert is_file(tmp_path / "file")
    assert not is_file(tmp_path)


def test_a_folder_is_locked_once(tmp_path: Path) -> None:
    lock = try_lock(tmp_path)
    assert lock is not None
    assert try_lock(tmp_path) is None
    with if_abandoned(tmp_path) as abandoned:
        assert not abandoned
    os.close(lock)
    with if_abandoned(tmp_path) as abandoned:
        assert abandoned


def test_a_tree_is_removed_without_what_its_links_lead_to(tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "x").touch()
    (tmp_path / "ours" / "deep").mkdir(parents=True)
    for link in (tmp_path / "link", tmp_path / "ours" / "link", tmp_path / "ours" / "deep" / "l"):
        link.symlink_to(tmp_path / "foreign")
    remove_tree(tmp_path / "link")
    remove_tree(tmp_path / "ours")
    assert not (tmp_path / "ours").exists()
    assert [path.name for path in (tmp_path / "foreign").iterdir()] == ["x"]


def test_a_tree_is_removed_with_one_file_open_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "ours" / "a" / "b").mkdir(parents=True)
    (tmp_path / "ours" / "a" / "b" / "link").symlink_to(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(tmp_path, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 1, before[1]))
    try:
        remove_tree(tmp_path / "ours")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_nobodys_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with if_abandoned(tmp_path / "link") as abandoned:
        assert not abandoned


SWEEPER = """
import shutil, sys
from pathlib import Path
from qhal.system.files import if_abandoned

print("ready", flush=True)
while True:
    for folder in Path(sys.argv[1]).iterdir():
        with if_abandoned(folder) as abandoned:
            if abandoned:
                shutil.rmtree(folder, ignore_errors=True)
"""


def test_a_folder_that_another_process_sweeps_away_is_made_again(tmp_path: Path) -> None:
    """Two processes: one makes folders and locks them late, one removes what nobody holds."""
    command = [sys.executable, "-c", SWEEPER, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": PATH}
    made: list[Path] = []

    def slowly() -> Path:
        made.append(Path(tempfile.mkdtemp(dir=tmp_path)))
        time.sleep(0.002 if len(made) % 2 else 0)
        return made[-1]

    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as sweeper:
        try:
            assert sweeper.stdout is not None
            sweeper.stdout.readline()
            held: list[tuple[Path, int | None]] = []
            deadline = time.monotonic() + 60
            while len(held) < 50 or len(made) == len(held):  # a busy machine runs it late
                assert time.monotonic() < deadline, "nothing was swept away"
                held.append(locked_folder(slowly))
            time.sleep(0.05)
            assert all(folder.is_dir() and lock is not None for folder, lock in held)
        finally:
            sweeper.kill()
    for _, lock in held:
        os.close(lock or 0)
