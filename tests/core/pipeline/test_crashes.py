"""Runtimes that crash: what a deployment says, and that other targets go on."""

from __future__ import annotations

import faulthandler
import os
import platform
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import qhal
from qhal.errors import DataFileError, ModelInvalidError, QhalError, VerificationError
from qhal.system.trail import trail
from qhal_backends.cpu.runner import OrtRunner
from tests.paths import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks")

DIGITS = ROOT / "examples" / "digits"
SMALLEST = -(2**63)


@pytest.fixture(autouse=True)
def forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard calls in forks of this process, which have its patches."""
    monkeypatch.setattr(trail(), "watched", False)
    monkeypatch.setattr("qhal.system.guard._may_fork", lambda: True)


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runner of the target cpu abort, as an assertion in C++ does."""

    def run(self: OrtRunner, inputs: object) -> None:
        faulthandler.disable()
        os.abort()

    monkeypatch.setattr(OrtRunner, "run", run)


@pytest.fixture
def lethal(tmp_path: Path) -> tuple[Path, Path]:
    """A valid model, and data for which ONNX Runtime divides -2**63 by -1: SIGFPE on x86."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("only x86 traps")
    info = helper.make_tensor_value_info
    integers = [info(name, TensorProto.INT64, [1, 4]) for name in "nd"]
    graph = helper.make_graph(
        [
            helper.make_node("Div", ["n", "d"], ["q"], name="divide"),
            helper.make_node("Cast", ["q"], ["c"], to=TensorProto.FLOAT, name="cast"),
            helper.make_node("Add", ["x", "c"], ["y"], name="add"),
        ],
        "lethal",
        [info("x", TensorProto.FLOAT, [1, 4]), *integers],
        [info("y", TensorProto.FLOAT, [1, 4])],
    )
    model, data = tmp_path / "lethal.onnx", tmp_path / "data.npz"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model
    )
    x = np.random.default_rng(0).normal(size=(8, 1, 4)).astype(np.float32)
    np.savez(data, x=x, n=np.full((8, 1, 4), SMALLEST), d=np.full((8, 1, 4), -1))
    return model, data


def test_a_model_that_kills_onnx_runtime(lethal: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = lethal
    with pytest.raises(ModelInvalidError, match="SIGFPE") as caught:
        qhal.deploy(model, target="cpu", data=str(data), cache=False, out=tmp_path / "out")
    assert "while onnxruntime" in caught.value.message
    assert "node 'divide' (Div)" in caught.value.message
    assert not (tmp_path / "out").exists()


def test_each_target_of_such_a_model_says_so(lethal: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = lethal
    fleet = qhal.deploy_all(
        model, targets=["cpu", "tflite"], data=str(data), cache=False, out=tmp_path / "out"
    )
    first, second = (outcome.error for outcome in fleet.outcomes)
    assert isinstance(first, ModelInvalidError)
    assert isinstance(second, QhalError)
    assert fleet.exit_code


@pytest.mark.usefixtures("dying")
def test_an_artifact_that_kills_its_runtime(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match=r"SIGABRT.*onnxruntime.* ran model") as caught:
        qhal.deploy(
            DIGITS / "digits.onnx",
            target="cpu",
            data=str(DIGITS / "calibration.npz"),
            cache=False,
            out=tmp_path / "out",
        )
    assert "Conv" in caught.value.message
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("dying")
def test_a_target_that_crashes_stops_no_other(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    fleet = qhal.deploy_all(
        DIGITS / "digits.onnx",
        targets=["tflite", "cpu", "cortex-a53"],
        data=str(DIGITS / "calibration.npz"),
        cache=False,
        out=tmp_path / "out",
    )
    assert [outcome.target for outcome in fleet.outcomes] == ["tflite", "cpu", "cortex-a53"]
    assert [outcome.error is None for outcome in fleet.outcomes] == [True, False, True]
    assert isinstance(fleet.outcomes[1].error, VerificationError)
    assert fleet.exit_code == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cortex-a53", "tflite"]


def test_a_benchmark_that_kills_its_runtime(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    out = tmp_path / "out"
    qhal.deploy(
        DIGITS / "digits.onnx",
        target="cpu",
        data=str(DIGITS / "calibration.npz"),
        cache=False,
        out=out,
    )
    request.getfixturevalue("dying")
    with pytest.raises(VerificationError, match="SIGABRT"):
        qhal.bench(out)


def exits() -> None:
    """End the process as C's exit does."""
    os._exit(0)


def test_data_that_end_the_process(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="it ends the process"):
        qhal.deploy(DIGITS / "digits.onnx", target="cpu", data=exits, out=tmp_path / "out")
