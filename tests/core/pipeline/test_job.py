"""A job is a value: another process takes it and comes to the same outcome."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qhal.errors import OptionError, UnknownTargetError
from qhal.pipeline.job import Job, run
from qhal.pipeline.options import Options
from qhal.plugin.info import BackendInfo
from qhal.plugin.registry import registry
from qhal_backends.cpu.plugin import CpuBackend
from tests.paths import ROOT

DIGITS = ROOT / "examples" / "digits"
MODEL = DIGITS / "digits.onnx"
CALIBRATION, EVALUATION = DIGITS / "calibration.npz", DIGITS / "evaluation.npz"


class OwnBackend(CpuBackend):
    """One that no plugin provides."""

    info = BackendInfo("own")


def job(folder: Path, target: str = "cpu") -> Job:
    options = Options(CALIBRATION, eval=EVALUATION, eval_samples=8, cache=False, out=folder)
    return Job(MODEL, target, options)


def samples() -> Iterator[dict[str, np.ndarray]]:
    yield {"image": np.zeros((1, 8, 8), np.float32)}


def test_a_job_that_was_pickled_has_the_same_outcome(tmp_path: Path) -> None:
    asked = job(tmp_path / "out")
    sent = pickle.loads(pickle.dumps(asked))
    assert sent == asked
    assert sent.folder == tmp_path / "out"
    first = run(asked)
    (tmp_path / "out").rename(tmp_path / "first")
    second = run(sent)
    assert first.record is not None
    assert second.record is not None
    assert (second.target, second.folder) == (first.target, first.folder)
    assert second.record.artifact == first.record.artifact
    assert second.record.plan == first.record.plan
    assert second.record.metrics["sqnr"] == first.record.metrics["sqnr"]


def test_a_job_that_fails_is_an_outcome_too(tmp_path: Path) -> None:
    outcome = run(job(tmp_path / "out", "no-such-target"))
    assert isinstance(outcome.error, UnknownTargetError)
    assert outcome.record is None
    assert not (tmp_path / "out").exists()


def test_a_job_without_a_folder_names_one_in_the_working_folder() -> None:
    named = Job(MODEL, "tflite", Options(CALIBRATION, recipe="w8a16"))
    assert named.folder == Path("digits-tflite-w8a16")


def test_a_job_runs_with_the_registry_that_is_handed_in(tmp_path: Path) -> None:
    known = registry()
    mine = {"mine": replace(known.profile("cpu"), name="mine", backend="own")}
    own = replace(known, targets=mine, backends={"own": OwnBackend()})
    outcome = run(job(tmp_path / "out", "mine"), registry=own)
    assert outcome.record is not None
    assert outcome.record.target.backend == "own"
    assert outcome.record.ok


def test_data_that_no_other_process_has_are_named() -> None:
    assert pickle.loads(pickle.dumps(Options(samples))).data is samples
    with pytest.raises(OptionError) as caught:
        pickle.dumps(Options("x.npz", eval=lambda: [*samples()]))
    assert "eval is a function that cannot be sent to another process" in str(caught.value)
    assert "package.module:function" in caught.value.hint
