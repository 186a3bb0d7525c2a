"""What `check` refuses as a whole, `deploy` refuses too: both ask the same question."""

from __future__ import annotations

from pathlib import Path

import pytest

import qhal
from qhal.errors import RefusedError
from tests.paths import ROOT

DIGITS = ROOT / "examples" / "digits"

_BOARD = """
[targets.tiny]
extends = "cortex-m7"
title = "A board with little flash"
facts.flash_bytes = { value = 100, unit = "B", source = "this test" }
"""


def test_a_model_that_is_refused_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(_BOARD)
    report = qhal.check(DIGITS / "digits.onnx", target="tiny", targets_file=path)
    (objection,) = report.objections
    with pytest.raises(RefusedError) as caught:
        qhal.deploy(
            DIGITS / "digits.onnx",
            target="tiny",
            targets_file=path,
            data=DIGITS / "calibration.npz",
            out=tmp_path / "out",
        )
    assert objection in caught.value.message
    assert not (tmp_path / "out").exists()
