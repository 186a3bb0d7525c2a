"""The output folder appears whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from qhal.errors import CrashError, OutputError
from qhal.output import MARKER, REPORT, OutputFolder, check_free, in_words, put_in_order
from qhal.system.swap import exchange


def record(text: str, *files: str) -> str:
    """A record as far as the output folder knows one; ``text``, in each file, tells it apart."""
    checksum = sha256(text.encode()).hexdigest()
    listed = [{"name": name, "sha256": checksum} for name in files]
    return json.dumps({"schema_version": 1, "artifact": {"files": listed}, "recipe": text})


def write(path: Path, text: str, *, force: bool = False) -> None:
    with OutputFolder(path, force=force) as folder:
        folder.write("model.bin", text)
        folder.write(MARKER, record(text, "model.bin"))


def content(path: Path) -> str:
    """What :func:`write` was given last."""
    assert json.loads((path / MARKER).read_text())["recipe"] == (path / "model.bin").read_text()
    return (path / "model.bin").read_text()


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
    assert content(tmp_path / "out") == "first"


def test_force_replaces_what_qhal_wrote(tmp_path: Path) -> None:
    write(tmp_path / "out", "first")
    write(tmp_path / "out", "second", force=True)
    assert content(tmp_path / "out") == "second"
    assert names(tmp_path) == ["out"]


def test_force_takes_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write(tmp_path / "out", "first", force=True)
    assert content(tmp_path / "out") == "first"


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
    assert content(tmp_path / "out") == "first"
    assert names(tmp_path) == ["out"]


@pytest.fixture
def no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that cannot swap two folders in one step, of which there are some."""
    monkeypatch.setattr("qhal.output.exchange", lambda first, second: False)


@pytest.mark.usefixtures("no_exchange")
def test_force_works_without_the_swap_in_one_step(tmp_path: Path) -> None:
    write(tmp_path / "out", "first")
    write(tmp_path / "out", "second", force=True)
    assert content(tmp_path / "out") == "second"
    assert names(tmp_path) == ["out"]


@pytest.mark.usefixtures("no_exchange")
def test_what_comes_in_before_two_steps_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "out", "first")
    rename = Path.rename

    def late(self: Path, target: Path) -> Path:
        if target.name.endswith(".old"):
            (self / "notes.txt").write_text("mine")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    with pytest.raises(OutputError, match=r"notes\.txt"):
        write(tmp_path / "out", "second", force=True)
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert content(tmp_path / "out") == "first"
    assert names(tmp_path) == ["out"]


@pytest.mark.usefixtures("no_exchange")
def test_a_failed_swap_restores_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "out", "first")
    rename = Path.rename

    def fails_on_the_new_one(self: Path, target: Path) -> Path:
        if self.name.endswith(".swap"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    with pytest.raises(OutputError), OutputFolder(tmp_path / "out", force=True) as folder:
        folder.write(MARKER, record("second"))
        monkeypatch.setattr(Path, "rename", fails_on_the_new_one)
    assert content(tmp_path / "out") == "first"
    assert names(tmp_path) == ["out"]


KILLED = """
import os, signal, sys
from pathlib import Path
import qhal.output
from tests.core.test_output import write

if sys.argv[2] == "two steps":
    qhal.output.exchange = lambda first, second: False
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
rename, exchange = Path.rename, qhal.output.exchange
def dies_after(self, target):
    rename(self, target)
    if target.name.endswith(sys.argv[3]):
        kill()
def dies_after_exchange(first, second):
    if sys.argv[3] == "late exchange":
        (second / "notes.txt").write_text("mine")
    return exchange(first, second) and kill()
Path.rename = dies_after
if sys.argv[3].endswith("exchange"):
    qhal.output.exchange = dies_after_exchange
write(Path(sys.argv[1]), "second", force=True)
"""


@pytest.mark.parametrize(
    ("way", "step", "left"),
    [
        ("two steps", ".old", "first"),
        ("two steps", "out", "second"),
        ("one step", "exchange", "second"),
    ],
)
def test_a_kill_between_two_steps_loses_nothing(
    tmp_path: Path, way: str, step: str, left: str
) -> None:
    out = tmp_path / "out"
    write(out, "first")
    command = [sys.executable, "-c", KILLED, str(out), way, step]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 2  # the folder and what was to be removed, or both aside
    with pytest.raises(OutputError, match="exists"):
        check_free(out, force=False)
    assert content(out) == left
    assert names(tmp_path) == ["out"]


def test_a_kill_after_the_swap_loses_nothing_that_came_in_late(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, "first")
    command = [sys.executable, "-c", KILLED, str(out), "one step", "late exchange"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with pytest.raises(OutputError, match="exists"):
        check_free(out, force=False)
    assert content(out) == "first"
    assert (out / "notes.txt").read_text() == "mine"
    assert names(tmp_path) == ["out"]


ENDED = """
import atexit, os, signal, sys
from pathlib import Path
import qhal.output
from qhal.system.signals import leaving, say
from tests.core.test_output import write

out, number = Path(sys.argv[1]), int(sys.argv[2])
exchange = qhal.output.exchange
def ends_after(first, second):
    (second / "notes.txt").write_text("mine")
    qhal.output.exchange = exchange
    assert exchange(first, second)
    os.kill(os.getpid(), number)
    return True
qhal.output.exchange = ends_after
with leaving(say):
    write(out, "second", force=True)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_after_the_swap_swaps_back(tmp_path: Path, number: int, code: int) -> None:
    out = tmp_path / "out"
    write(out, "first")
    command = [sys.executable, "-c", ENDED, str(out), str(int(number))]
    assert subprocess.run(command, check=False).returncode == code
    assert content(out) == "first"
    assert (out / "notes.txt").read_text() == "mine"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("problem", [KeyboardInterrupt, MemoryError, OutputError, OSError])
def test_any_end_after_the_swap_swaps_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: type[BaseException]
) -> None:
    write(tmp_path / "out", "first")

    def ends_after(first: Path, second: Path) -> bool:
        monkeypatch.setattr("qhal.output.exchange", exchange)
        (second / "notes.txt").write_text("mine")
        assert exchange(first, second)
        raise problem("x")

    monkeypatch.setattr("qhal.output.exchange", ends_after)
    with pytest.raises((problem, OutputError)):
        write(tmp_path / "out", "second", force=True)
    assert content(tmp_path / "out") == "first"
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert names(tmp_path) == ["out"]


RECOVERER = """
import sys
from contextlib import suppress
from pathlib import Path
from qhal.errors import CrashError, OutputError
from qhal.output import check_free

print("ready", flush=True)
while True:
    with suppress(OutputError):  # the folder changes while it is looked at
        check_free(Path(sys.argv[1]), force=True)
"""


def test_another_process_that_cleans_up_takes_no_new_folder_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one looks for abandoned folders all the time, also before they are locked."""
    mkdir, made = Path.mkdir, 0

    def slowly(self: Path, *arguments: Any, **named: Any) -> None:
        nonlocal made
        mkdir(self, *arguments, **named)
        made += 1
        time.sleep(0.002 if made % 2 else 0)

    monkeypatch.setattr(Path, "mkdir", slowly)
    command = [sys.executable, "-c", RECOVERER, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            written, deadline = 0, time.monotonic() + 60
            while written < 20 or made == written:  # on a busy machine the other one comes late
                assert time.monotonic() < deadline, "nothing was taken away"
                write(tmp_path / "out", str(written), force=True)
                written += 1
        finally:
            other.kill()
    assert content(tmp_path / "out") == str(written - 1)
    assert names(tmp_path) == ["out"]


def test_hints_name_the_option_that_named_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    write(tmp_path / "out", "first")
    for path in (tmp_path / "out", tmp_path / "file", tmp_path / "file" / "x", tmp_path / "a\0"):
        with pytest.raises(OutputError) as caught:
            OutputFolder(path, option="--keep-refused").__enter__()
        assert "--keep-refused" in caught.value.hint
        assert "--out" not in caught.value.hint


def test_hints_without_an_option() -> None:
    full = in_words(OSError(errno.ENOSPC, "No space left on device"), "to the disk")
    assert full.hint == "Free some space."


def test_an_error_names_what_withstands_its_removal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / ".out.01234567.partial"
    left.mkdir()
    monkeypatch.setattr("qhal.output.remove_tree", lambda folder: None)
    with pytest.raises(CrashError) as caught, put_in_order(tmp_path / "out"):
        raise CrashError("It was killed.", "Raise the limit.")
    assert caught.value.hint.startswith("Raise the limit.\n")
    assert str(left) in caught.value.hint
    monkeypatch.undo()
    with pytest.raises(ValueError, match="this"), put_in_order(tmp_path / "out"):
        raise ValueError("this")
    assert names(tmp_path) == []


def test_what_a_living_run_writes_is_left_alone(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "out") as folder:
        folder.write(MARKER, record("mine"))
        before = names(tmp_path)
        check_free(tmp_path / "out", force=False)
        assert names(tmp_path) == before
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("text", ["{}", "[]", "", "nonsense", "[" * 100_000, '{"a": 1e400}'])
def test_a_file_of_the_name_makes_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / MARKER).write_text(text)
    with pytest.raises(OutputError, match=r"no record\.json of qhal"):
        write(tmp_path / "thesis", "x", force=True)
    assert (tmp_path / "thesis" / MARKER).read_text() == text


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_force_names_the_file_that_qhal_did_not_write(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "out", "first")
    foreign = tmp_path / "out" / "chapter1.txt"
    foreign.write_text("years of work") if kind == "file" else foreign.mkdir()
    with pytest.raises(OutputError, match=r"'chapter1\.txt' is not in its record\.json"):
        write(tmp_path / "out", "second", force=True)
    assert content(tmp_path / "out") == "first"
    assert foreign.exists()


@pytest.mark.parametrize("way", ["changed", "listed by hand"])
def test_force_deletes_no_file_with_another_content(tmp_path: Path, way: str) -> None:
    out = tmp_path / "out"
    write(out, "first")
    name = "model.bin" if way == "changed" else "thesis.txt"
    (out / name).write_text("years of work")
    (out / MARKER).write_text(record("first", "model.bin", name))
    with pytest.raises(OutputError, match=rf"'{name}' is not what its record\.json lists"):
        write(out, "second", force=True)
    assert (out / name).read_text() == "years of work"
    assert names(tmp_path) == ["out"]


def test_force_replaces_a_report_and_a_record_that_were_edited(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, "first")
    (out / REPORT).write_text("with my notes")
    (out / MARKER).write_text(record("first", "model.bin") + "\n")
    write(out, "second", force=True)
    assert content(out) == "second"


def test_what_comes_in_at_the_last_moment_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "out", "first")

    def late(first: Path, second: Path) -> bool:
        monkeypatch.setattr("qhal.output.exchange", exchange)
        (second / "notes.txt").write_text("mine")
        return exchange(first, second)

    monkeypatch.setattr("qhal.output.exchange", late)
    with pytest.raises(OutputError, match=r"notes\.txt"):
        write(tmp_path / "out", "second", force=True)
    assert content(tmp_path / "out") == "first"
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_the_working_folder_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "out", "first")
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    for working, out in (("out", "."), ("out", "../out"), ("empty/inner", "."), ("empty", ".")):
        monkeypatch.chdir(tmp_path / working)
        with pytest.raises(OutputError, match="the working folder"):
            check_free(Path(out), force=True)
    monkeypatch.chdir(tmp_path / "empty" / "inner")
    with pytest.raises(OutputError, match="the working folder"):
        check_free(Path("../.."), force=True)


def test_a_working_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(OutputError, match="The working folder is gone"):
        check_free(Path("out"), force=False)
    write(tmp_path / "out", "first")
    write(tmp_path / "out", "second", force=True)
    assert content(tmp_path / "out") == "second"


def test_names_that_no_file_can_have_are_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the name is too long"):
        check_free(tmp_path / ("a" * 300), force=False)
    with pytest.raises(OutputError, match="NUL"):
        check_free(tmp_path / "a\0b", force=False)
    longest = tmp_path / ("ä" * 127)
    write(longest, "first")
    write(longest, "second", force=True)
    assert content(longest) == "second"
    assert names(tmp_path) == [longest.name]


def test_text_that_is_not_utf_8_is_escaped_as_json_does(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.onnx")
    out = tmp_path / os.fsdecode(b"caf\xe9")
    with OutputFolder(out) as folder:
        folder.write(MARKER, f'"{name}"')
    assert json.loads((out / MARKER).read_text(encoding="utf-8")) == name


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
        folder.write(MARKER, record("mine"))
        write(tmp_path / "out", "theirs")
    assert content(tmp_path / "out") == "theirs"


def test_a_link_to_a_folder_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "real", "first")
    for target in ("real", "nowhere"):
        (tmp_path / "link").symlink_to(target)
        with pytest.raises(OutputError, match=f"is a link to {target}"):
            write(tmp_path / "link", "second", force=True)
        (tmp_path / "link").unlink()
    assert content(tmp_path / "real") == "first"


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".."])
def test_names_have_no_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="plain file name"), OutputFolder(tmp_path / "o") as folder:
        folder.write(name, b"")
