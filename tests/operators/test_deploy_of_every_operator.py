"""What `check` accepts is deployed and computes what ONNX Runtime computes; nothing is a bug."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

from qhal.errors import InternalError, PluginError, QhalError
from qhal.pipeline.check import check
from qhal.pipeline.line import LoweredModel, lower_line
from qhal.pipeline.options import Options
from qhal.pipeline.session import Session, open_session
from qhal.pipeline.stages import Stages
from qhal.plugin.backend import RunOptions
from qhal.verify import verify
from tests.operators.cases import Case
from tests.operators.running import by_kind, close, expected, first, newest, some

_NEEDS = {
    "cpu": "onnxruntime",
    "tflite": "ai_edge_litert",
    "openvino-cpu": "openvino",
    "edgetpu": "ai_edge_litert",
    "ethos-u55-128": "ethosu",
    "cortex-m7": "tflite_micro",
    "cortex-a72": "ai_edge_litert",
}
"""Target -> the package without which its artifacts are not run here."""

_IN_FLOAT = frozenset({"cpu", "tflite", "openvino-cpu"})

_AT_ONCE = 1
"""Cases of an operator that each target is tried with, if not all are asked for."""


def _accepts(path: Path, target: str) -> bool:
    try:
        return check(path, target=target).ok
    except (InternalError, PluginError):
        raise
    except QhalError:
        return False


def _compare_float(
    lowered: LoweredModel, session: Session, case: Case, wanted: list[np.ndarray]
) -> None:
    """Compare the float model, through the same backend, with ONNX Runtime."""
    baseline = lowered.baseline
    assert baseline is not None
    runner = baseline.load(RunOptions())
    assert runner is not None
    given = {n: v for n, v in first(case).items() if n in session.load_model().graph.inputs}
    found = baseline.adapter.to_user(runner.run(baseline.adapter.to_artifact(given)))
    outputs = session.load_model().graph.outputs
    for name, value in zip(outputs, wanted, strict=True):
        assert close(value, np.asarray(found[name]), 1e-3), case


def _deploy(path: Path, target: str, case: Case, wanted: list[np.ndarray]) -> None:
    options = Options(case.data(), out=path.parent / "out")
    with open_session(path, options) as session:
        lowered = lower_line(session, target, options, Stages())
        verify(lowered.subject, session.load_reference(), samples=2, oracle_samples=2)
        if target in _IN_FLOAT:
            _compare_float(lowered, session, case, wanted)


_OUTSIDE = "gather index out of bounds"
"""LiteRT counts no index from the end; what an input holds is known when it runs."""


@pytest.mark.parametrize("target", _NEEDS)
@pytest.mark.parametrize("kind", by_kind())
def test_what_check_accepts_is_deployed(
    kind: str, target: str, tmp_path: Path, whole_sweep: bool
) -> None:
    if find_spec(_NEEDS[target]) is None:
        pytest.skip(f"{_NEEDS[target]} is not installed")
    path = tmp_path / "model.onnx"
    for case in some(by_kind()[kind], _AT_ONCE, whole_sweep):
        model = case.model(newest(case))
        onnx.save(model, path)
        wanted = expected(model, first(case))
        if wanted is None or not _accepts(path, target):
            continue
        try:
            _deploy(path, target, case, wanted)
        except QhalError as error:
            assert _OUTSIDE in str(error), f"{case}: {error}"
