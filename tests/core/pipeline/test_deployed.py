"""An output folder is read back, or refused with the file that is not as it was recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qhal.errors import ArtifactError, MissingDependencyError, QhalError, RecordError
from qhal.pipeline.deployed import open_deployed
from qhal.plugin.registry import Registry, registry
from qhal.results.record import RunRecord
from tests.core.conftest import Toys


@pytest.fixture
def folder(toys: Toys, record: RunRecord, tmp_path: Path) -> Path:
    """What ``qhal deploy`` would have written for the toy's record."""
    artifact = toys.subject(toys.transposed()).artifact
    for name, content in artifact.files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "record.json").write_text(record.dumps())
    return tmp_path


@pytest.fixture
def plugins(toys: Toys) -> Registry:
    """The toy's backend as a plugin."""
    return Registry({"toy": toys.subject(toys.transposed()).backend}, {})


def test_the_artifact_is_what_was_lowered(toys: Toys, folder: Path, plugins: Registry) -> None:
    deployed = open_deployed(folder, registry=plugins)
    artifact, lowered = deployed.runnable.artifact, toys.subject(toys.transposed()).artifact
    assert artifact.files == lowered.files
    assert (artifact.main, artifact.auxiliary) == ("model.toy", frozenset({"notes.txt"}))
    assert artifact.input_names == {"x": "serving_default_x:0"}
    assert artifact.output_names == {"y": "y"}
    assert artifact.size_bytes == len(lowered.files["model.toy"])


def test_the_target_is_that_of_the_record(folder: Path, plugins: Registry) -> None:
    profile = open_deployed(folder, registry=plugins).runnable.profile
    assert (profile.name, profile.backend) == ("npu", "toy")
    assert profile.facts["clock_hz"].value == 1e9


def test_files_that_no_record_knows_do_not_matter(folder: Path, plugins: Registry) -> None:
    (folder / "report.md").write_text("read me")
    assert "report.md" not in open_deployed(folder, registry=plugins).runnable.artifact.files


def _refusal(folder: Path, kind: type[QhalError]) -> QhalError:
    with pytest.raises(kind) as caught:
        open_deployed(folder)
    return caught.value


def test_a_changed_byte_is_an_error_that_names_the_file(folder: Path) -> None:
    path = folder / "model.toy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert f"{path} was changed: its sha256 is " in _refusal(folder, ArtifactError).message


def test_a_file_that_was_cut_is_an_error_with_both_sizes(folder: Path) -> None:
    path = folder / "notes.txt"
    path.write_bytes(b"h")
    message = f"{path} was changed: it has 1 bytes; the record says 2."
    assert _refusal(folder, ArtifactError).message == message


def test_a_missing_file_is_an_error(folder: Path) -> None:
    (folder / "model.toy").unlink()
    assert "model.toy is missing" in _refusal(folder, ArtifactError).message


def _rewrite(folder: Path, **changes: Any) -> None:
    path = folder / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("main", "words"),
    [("../model.toy", "is outside the folder"), ("other.toy", "main file 'other.toy'")],
)
def test_a_record_that_names_other_files_is_refused(
    record: RunRecord, folder: Path, main: str, words: str
) -> None:
    artifact = record.to_json()["artifact"]
    names = {"../model.toy": "../model.toy", "other.toy": "model.toy"}
    artifact["files"][0]["name"], artifact["main"] = names[main], main
    _rewrite(folder, artifact=artifact)
    assert words in _refusal(folder, ArtifactError).message


def test_a_port_that_makes_no_sense_is_a_broken_record(record: RunRecord, folder: Path) -> None:
    model = record.to_json()["model"]
    model["inputs"][0]["permutation"] = [3, 0]
    _rewrite(folder, model=model)
    assert "is not a valid record" in _refusal(folder, RecordError).message


def test_what_is_no_output_folder_is_refused(tmp_path: Path) -> None:
    assert "is not a folder" in _refusal(tmp_path / "nowhere", RecordError).message
    (tmp_path / "file").write_text("")
    assert "is not a folder" in _refusal(tmp_path / "file", RecordError).message
    assert "record.json" in _refusal(tmp_path, RecordError).message


def test_a_backend_that_is_not_installed(folder: Path) -> None:
    assert "toy" not in registry().backends
    error = _refusal(folder, MissingDependencyError)
    assert str(folder) in error.message
    assert "The backend 'toy' is not installed" in error.message
    assert "Installed backends: " in error.hint
