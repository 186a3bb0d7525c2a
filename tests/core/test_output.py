"""The output folder appears whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from qhal.errors import OutputError
from qhal.output import MARKER, OutputFolder, check_free


def write(path: Path, text: str, *, force: bool = False) -> None:
    with OutputFolder(path, force=force) as folder:
        folder.write(MARKER, text)


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def test_it_appears_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with OutputFolder(out) as folder:
        folder.write("model.bin", b"\x00\x01")
        folder.write(MARKER, "{}")
        assert not out.exists()
    assert names(out) == ["model.bin", MARKER]
    assert (out / "model.bin").read_bytes() == b"\x00\x01"
    assert names(out.parent) == ["out"]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError, SystemExit])
def test_nothing_is_left_of_a_failure(tmp_path: Path, interruption: type[BaseException]) -> None:
    with pytest.raises(interruption), OutputFolder(tmp_path / "a" / "b" / "out") as folder:
        folder.write("model.bin", b"half")
        raise interruption
    assert names(tmp_path) == []


def test_a_path_below_a_file_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a part of the path is a file"):
        check_free(tmp_path / "file" / "a" / "out", force=False)
    check_free(tmp_path / "new" / "a" / "out", force=False)
    assert names(tmp_path) == ["file"]


def test_an_existing_folder_is_refused_without_force(tmp_path: Path) -> None:
    write(tmp_path / "out", "first")
    with pytest.raises(OutputError, match="exists") as caught:
        write(tmp_path / "out", "second")
    assert "--force" in caught.value.hint
    assert (tmp_path / "out" / MARKER).read_text() == "first"


def test_force_replaces_what_qhal_wrote(tmp_path: Path) -> None:
    write(tmp_path / "out", "first")
    write(tmp_path / "out", "second", force=True)
    assert (tmp_path / "out" / MARKER).read_text() == "second"
    assert names(tmp_path) == ["out"]


def test_force_takes_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write(tmp_path / "out", "first", force=True)
    assert (tmp_path / "out" / MARKER).read_text() == "first"


def test_force_never_deletes_what_qhal_did_not_write(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="was not written by qhal"):
        write(tmp_path, "x", force=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_failure_leaves_the_old_folder(tmp_path: Path) -> None:
    write(tmp_path / "out", "first")
    with pytest.raises(ValueError), OutputFolder(tmp_path / "out", force=True) as folder:
        folder.write(MARKER, "second")
        raise ValueError
    assert (tmp_path / "out" / MARKER).read_text() == "first"
    assert names(tmp_path) == ["out"]


def test_a_failed_swap_restores_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "out", "first")
    rename = Path.rename

    def fails_on_the_new_one(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    with pytest.raises(OutputError), OutputFolder(tmp_path / "out", force=True) as folder:
        folder.write(MARKER, "second")
        monkeypatch.setattr(Path, "rename", fails_on_the_new_one)
    assert (tmp_path / "out" / MARKER).read_text() == "first"
    assert names(tmp_path) == ["out"]


def test_a_full_disk_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match="the disk is full"), OutputFolder(tmp_path / "o") as out:
        monkeypatch.setattr(os, "fsync", full)
        out.write(MARKER, "{}")
    assert names(tmp_path) == []


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="is not a folder"):
        write(tmp_path / "file", "x", force=True)
    with pytest.raises(OutputError, match="a part of the path is a file"):
        write(tmp_path / "file" / "out", "x")


def test_somebody_else_was_faster(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists"), OutputFolder(tmp_path / "out") as folder:
        folder.write(MARKER, "mine")
        write(tmp_path / "out", "theirs")
    assert (tmp_path / "out" / MARKER).read_text() == "theirs"


def test_a_link_to_a_folder_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "real", "first")
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", "second", force=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / MARKER).read_text() == "second"


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".."])
def test_names_have_no_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="plain file name"), OutputFolder(tmp_path / "o") as folder:
        folder.write(name, b"")
