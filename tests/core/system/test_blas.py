"""Matrix products take one thread inside a deployment, and as many as before outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import qhal
from qhal.pipeline.line import run_line
from qhal.system.blas import one_blas_thread
from tests.paths import ROOT

DIGITS = ROOT / "examples" / "digits"


def blas_threads() -> set[int]:
    """The threads that each BLAS of this process may take."""
    np.ones((2, 2)) @ np.ones((2, 2))
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_the_limit_ends_with_the_block() -> None:
    before = blas_threads()
    with one_blas_thread():
        assert blas_threads() == {1}
    assert blas_threads() == before


def test_a_deployment_computes_with_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = blas_threads(), []

    def watched(*arguments: object) -> qhal.RunRecord:
        seen.append(blas_threads())
        return run_line(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("qhal.pipeline.job.run_line", watched)
    qhal.deploy(
        DIGITS / "digits.onnx",
        target="cpu",
        data=DIGITS / "calibration.npz",
        eval_samples=2,
        out=tmp_path / "out",
    )
    assert seen == [{1}]
    assert blas_threads() == before
