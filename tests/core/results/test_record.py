"""The record reads back what it wrote and refuses what it does not understand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qhal.errors import RecordError
from qhal.results.record import SCHEMA_VERSION, RunRecord


def test_round_trip(record: RunRecord, tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(record.dumps(), encoding="utf-8")
    assert RunRecord.load(tmp_path) == record
    assert RunRecord.load(tmp_path / "record.json").dumps() == record.dumps()


def test_the_keys_that_are_promised(record: RunRecord) -> None:
    body = json.loads(record.dumps())
    assert next(iter(body)) == "schema_version"
    assert body["schema_version"] == 1
    assert [f["name"] for f in body["artifact"]["files"]] == ["model.toy", "notes.txt"]
    assert all(len(f["sha256"]) == 64 for f in body["artifact"]["files"])
    assert body["metrics"]["latency"]["basis"] == "modeled"
    assert body["timings_s"] == {"import": 0.1, "verify": 0.25}
    assert {"decisions", "plan", "host", "versions", "options", "data"} <= set(body)
    assert body["decisions"][0]["code"] == "QD301"
    assert body["options"]["data"] == "some/data.npz"


def test_inputs_and_outputs_tell_how_to_feed_the_artifact(record: RunRecord) -> None:
    port = record.model.inputs[0]
    assert (port.shape, port.artifact_shape, port.permutation) == ((4, 1), (1, 4), (1, 0))
    assert (port.artifact_dtype, port.scale, port.zero_point) == ("int8", 1 / 64, 0)
    assert port.artifact_name == "serving_default_x:0"


def test_equal_decisions_are_kept_once(record: RunRecord) -> None:
    assert len(record.decisions) == len(set(record.decisions))


def _changed(record: RunRecord, **changes: object) -> str:
    return json.dumps({**record.to_json(), **changes})


@pytest.mark.parametrize(
    ("version", "fix"),
    [(SCHEMA_VERSION + 1, "pip install --upgrade"), (SCHEMA_VERSION - 1, "qhal deploy` again")],
)
def test_other_schema_versions_are_refused(
    record: RunRecord, tmp_path: Path, version: int, fix: str
) -> None:
    path = tmp_path / "record.json"
    path.write_text(_changed(record, schema_version=version))
    with pytest.raises(RecordError, match=f"schema version {version}") as caught:
        RunRecord.load(path)
    assert fix in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "no schema_version"),
        ('{"schema_version": "1"}', "no schema_version"),
        ('{"schema_version": 1}', "record lacks the key 'model'"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=message):
        RunRecord.load(path)


def test_binary_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("binary", "missing"):
        with pytest.raises(RecordError):
            RunRecord.load(tmp_path / name)
    with pytest.raises(RecordError, match="Cannot read"):
        RunRecord.load(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(
    record: RunRecord, tmp_path: Path, value: float
) -> None:
    metrics = record.to_json()["metrics"]
    metrics["sqnr"]["value"] = value
    path = tmp_path / "record.json"
    path.write_text(_changed(record, metrics=metrics))
    with pytest.raises(RecordError, match="not finite"):
        RunRecord.load(path)
