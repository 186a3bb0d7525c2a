"""What counts as a fault, and what kind it is."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest
from fuzz.case import Step
from fuzz.command import Ended
from fuzz.judge import before, judge

BUG = """Traceback (most recent call last):
  File "/x/core/qhal/ir/simplify.py", line 10, in simplify
    f()
  File "/x/numpy/core.py", line 3, in f
    raise ValueError
ValueError: shapes differ
"""
STEP = Step(("deploy",), "o")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    work, temporary = tmp_path / "work", tmp_path / "tmp"
    work.mkdir()
    temporary.mkdir()
    return work, temporary


def ended(
    code: int | None, stderr: str = "error QH102: no", *, signal: str = "", timed_out: bool = False
) -> Ended:
    return Ended(code, signal, timed_out, 1.0, "", stderr)


def output(folder: Path, *, content: bytes = b"artifact") -> None:
    folder.mkdir()
    file = {"name": "model.onnx", "sha256": sha256(content).hexdigest()}
    (folder / "model.onnx").write_bytes(b"artifact")
    (folder / "record.json").write_text(json.dumps({"artifact": {"files": [file]}}))
    (folder / "report.md").write_text("# report")


def kinds(how: Ended, folders: tuple[Path, Path], step: Step = STEP) -> list[str]:
    work, temporary = folders
    return [fault.kind for fault in judge(step, how, work, temporary, before(work, step))]


def test_a_clear_refusal_is_none(folders: tuple[Path, Path]) -> None:
    assert kinds(ended(2), folders) == []


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        (ended(70, "error QH901: ValueError"), "QH901"),
        (ended(1, BUG), "traceback: ValueError in qhal/ir/simplify.py:simplify"),
        (ended(None, "", signal="SIGSEGV"), "SIGSEGV"),
        (ended(2, ""), "fails without a word"),
        (ended(99), "exit code 99"),
        (ended(None, "", signal="SIGKILL", timed_out=True), "hang"),
        (ended(2, "error QH701: the plugin"), "QH701"),
    ],
)
def test_bad_ends(how: Ended, kind: str, folders: tuple[Path, Path]) -> None:
    (found,) = kinds(how, folders)
    assert found.startswith(kind)


def test_the_kind_of_a_bug_is_read_from_its_report(folders: tuple[Path, Path]) -> None:
    (folders[1] / "qhal-bug-1.txt").write_text(BUG)
    found = kinds(ended(70, "error QH901: ValueError"), folders)
    assert found == ["QH901: ValueError in qhal/ir/simplify.py:simplify"]


def test_what_is_left(folders: tuple[Path, Path]) -> None:
    work, temporary = folders
    was = before(work, STEP)
    (work / ".o.partial").mkdir()
    (temporary / "qhal-1").mkdir()
    found = {fault.kind for fault in judge(STEP, ended(2), work, temporary, was)}
    assert found == {"temporary file left: qhal-*", "hidden file left beside the output"}


def test_a_whole_output_is_none(folders: tuple[Path, Path]) -> None:
    output(folders[0] / "o")
    assert kinds(ended(0), folders) == []


def test_an_output_that_is_not_whole(folders: tuple[Path, Path]) -> None:
    output(folders[0] / "o", content=b"other")
    assert kinds(ended(0), folders) == ["done without a whole output"]


def test_a_lost_output(folders: tuple[Path, Path]) -> None:
    work, temporary = folders
    output(work / "o")
    was = before(work, STEP)
    (work / "o" / "model.onnx").unlink()
    (fault,) = judge(STEP, ended(2), work, temporary, was)
    assert fault.kind == "old output lost"


def test_json_has_to_be_json(folders: tuple[Path, Path]) -> None:
    assert kinds(ended(0), folders, Step(("check", "--json"))) == ["stdout is not JSON"]
