"""Tests import each other as ``tests.…``; nothing of them is found by another name."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.paths import ROOT

TESTS = ROOT / "tests"


def test_no_folder_of_the_tests_is_on_the_path() -> None:
    folders = [Path(entry).resolve() for entry in sys.path]
    assert ROOT in folders
    assert [folder for folder in folders if folder.is_relative_to(TESTS)] == []


def test_no_test_changes_the_path_itself() -> None:
    """``monkeypatch.syspath_prepend`` takes back what it did."""
    changing = tuple(f"sys.path.{method}(" for method in ("append", "extend", "insert"))
    files = [path for path in TESTS.rglob("*.py") if path != Path(__file__)]
    guilty = [path for path in files if any(c in path.read_text("utf-8") for c in changing)]
    assert guilty == []
