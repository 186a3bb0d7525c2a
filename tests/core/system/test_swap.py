"""Two folders change places in one step."""

from __future__ import annotations

from pathlib import Path

import pytest

from qhal.system.swap import exchange


def test_two_folders_change_places(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system cannot")
    assert [(tmp_path / name / "file").read_text() for name in ("a", "b")] == ["b", "a"]


def test_nothing_changes_where_one_of_them_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert not exchange(tmp_path / "a", tmp_path / "b")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]
