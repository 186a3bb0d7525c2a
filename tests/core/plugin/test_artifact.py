"""What a backend lowers is looked at when it is made."""

from __future__ import annotations

from typing import Any

import pytest

from qhal.errors import PluginError
from qhal.plugin.backend import Artifact


def test_what_lies_aside_does_not_count() -> None:
    artifact = Artifact({"model.bin": b"1234", "log.txt": b"hi"}, "model.bin")
    assert artifact.size_bytes == 6
    files = artifact.files
    assert Artifact(files, "model.bin", auxiliary=frozenset({"log.txt"})).size_bytes == 4


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b.bin", "a\\b.bin", "/etc/passwd", ".hidden", "a b", "a\n", "-f", 3]
)
def test_a_name_that_is_not_plain(name: Any) -> None:
    with pytest.raises(PluginError) as caught:
        Artifact({name: b""}, name)
    assert caught.value.message == f"The artifact's file name {name!r} is not a plain file name."


@pytest.mark.parametrize("name", ["record.json", "report.md", "Record.JSON"])
def test_names_of_qhals_own_files(name: str) -> None:
    with pytest.raises(PluginError, match=rf"name '{name}' is reserved") as caught:
        Artifact({"model.bin": b"", name: b""}, "model.bin")
    assert caught.value.hint == "qhal itself writes record.json and report.md into the folder."


@pytest.mark.parametrize(
    ("files", "settings", "words"),
    [
        ({}, {}, "The artifact's main file 'model.bin' is not one of its files: none."),
        (
            {"b": b"", "a": b""},
            {},
            "The artifact's main file 'model.bin' is not one of its files: a, b.",
        ),
        ({"model.bin": "text"}, {}, "The artifact's file 'model.bin' holds a str, not bytes."),
        (
            {"model.bin": b""},
            {"auxiliary": frozenset({"log"})},
            "The auxiliary file 'log' is not one of the artifact's files: model.bin.",
        ),
        (
            {"model.bin": b""},
            {"auxiliary": frozenset({"model.bin"})},
            "The artifact's main file 'model.bin' is also listed as auxiliary.",
        ),
    ],
)
def test_what_does_not_fit_together(files: Any, settings: Any, words: str) -> None:
    with pytest.raises(PluginError) as caught:
        Artifact(files, "model.bin", **settings)
    assert caught.value.message == words
