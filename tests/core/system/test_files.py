"""Files that users name, and folders that are locked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qhal.system.files import exists, if_abandoned, is_file, is_folder, plain, try_lock


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


def test_a_link_is_nobodys_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with if_abandoned(tmp_path / "link") as abandoned:
        assert not abandoned
