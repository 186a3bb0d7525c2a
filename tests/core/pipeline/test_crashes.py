"""Runtimes that crash: what a deployment says, and that other targets go on."""

from __future__ import annotations

import faulthandler
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import qhal
import qhal.output
from qhal.errors import (
    CrashError,
    DataFileError,
    DataValueError,
    ModelInvalidError,
    QhalError,
    VerificationError,
)
from qhal.results.fleet import Fleet, Outcome
from qhal.results.record import RunRecord
from qhal.system.swap import exchange
from qhal.system.wire import Sender
from qhal_backends.cpu.runner import OrtRunner
from tests.core.system.alone import alone
from tests.paths import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks")

MODEL = ROOT / "examples" / "digits" / "digits.onnx"
DATA = MODEL.parent / "calibration.npz"
SMALLEST = -(2**63)


def dies(self: OrtRunner, inputs: object) -> NoReturn:
    """Abort, as an assertion in C++ does."""
    faulthandler.disable()
    os.abort()


def deploy(model: Path, target: str, data: Path, out: Path, patch: Callable[[], None]) -> RunRecord:
    """Deploy a model; in a new process, that is in a fork, which has the patch."""
    patch()
    return qhal.deploy(model, target=target, data=str(data), cache=False, out=out)


def deploy_all(
    model: Path, targets: Sequence[str], data: Path, out: Path, patch: Callable[[], None]
) -> Fleet:
    """Deploy a model for several targets."""
    patch()
    return qhal.deploy_all(model, targets=targets, data=str(data), cache=False, out=out)


def bench(folder: Path) -> None:
    """Measure what a runtime dies of."""
    dying()
    qhal.bench(folder)


def nothing() -> None:
    """Leave all as it is."""


def dying() -> None:
    """Let the runner of the target cpu abort."""
    OrtRunner.run = dies  # type: ignore[method-assign]


def dying_between() -> None:
    """Let the child abort as soon as the target cpu is done."""
    send = Sender.send

    def send_and_die(self: Sender, value: object) -> None:
        send(self, value)
        if isinstance(value, Outcome) and value.target == "cpu":
            faulthandler.disable()
            os.abort()

    Sender.send = send_and_die  # type: ignore[method-assign]


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
        alone(deploy, model, "cpu", data, tmp_path / "out", nothing)
    assert "while onnxruntime" in caught.value.message
    assert "node 'divide' (Div)" in caught.value.message
    assert not (tmp_path / "out").exists()


def test_each_target_of_such_a_model_says_so(lethal: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = lethal
    fleet = alone(deploy_all, model, ["cpu", "tflite"], data, tmp_path / "out", nothing)
    first, second = (outcome.error for outcome in fleet.outcomes)
    assert isinstance(first, ModelInvalidError)
    assert isinstance(second, QhalError)
    assert fleet.exit_code


def test_an_artifact_that_kills_its_runtime(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match=r"SIGABRT.*onnxruntime.* ran model") as caught:
        alone(deploy, MODEL, "cpu", DATA, tmp_path / "out", dying)
    assert "Conv" in caught.value.message
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_crashes_stops_no_other(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    targets = ["tflite", "cpu", "cortex-a53"]
    fleet = alone(deploy_all, MODEL, targets, DATA, tmp_path / "out", dying)
    assert [outcome.target for outcome in fleet.outcomes] == targets
    assert [outcome.error is None for outcome in fleet.outcomes] == [True, False, True]
    assert isinstance(fleet.outcomes[1].error, VerificationError)
    assert fleet.exit_code == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cortex-a53", "tflite"]


@pytest.mark.parametrize("targets", [["cpu", "tflite"], ["tflite", "cpu"]])
def test_a_crash_between_targets_is_the_failure_of_none(tmp_path: Path, targets: list[str]) -> None:
    pytest.importorskip("ai_edge_litert")
    fleet = alone(deploy_all, MODEL, targets, DATA, tmp_path / "out", dying_between)
    assert [outcome.target for outcome in fleet.outcomes] == targets
    assert [outcome.error for outcome in fleet.outcomes] == [None, None]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cpu", "tflite"]


def test_a_benchmark_that_kills_its_runtime(tmp_path: Path) -> None:
    qhal.deploy(MODEL, target="cpu", data=str(DATA), cache=False, out=tmp_path / "out")
    with pytest.raises(VerificationError, match="SIGABRT"):
        alone(bench, tmp_path / "out")


def replace_and_die(out: Path, targets: Sequence[str]) -> None:
    """Deploy over an old folder; the child is killed when it has exchanged the two."""

    def dies_after(first: Path, second: Path) -> bool:
        exchange(first, second)
        os.kill(os.getpid(), signal.SIGKILL)
        return True

    qhal.output.exchange = dies_after  # type: ignore[attr-defined]
    settings: Any = {"data": str(DATA), "cache": False, "out": out, "force": True}
    if len(targets) == 1:
        qhal.deploy(MODEL, target=targets[0], **settings)
    for outcome in qhal.deploy_all(MODEL, targets=targets, **settings).outcomes:
        if outcome.error is not None:
            raise outcome.error


@pytest.mark.parametrize("targets", [["cpu"], ["cpu", "tflite"]])
def test_a_kill_between_two_folders_leaves_one(tmp_path: Path, targets: list[str]) -> None:
    out = tmp_path / "out"
    for target in targets:
        folder = out if len(targets) == 1 else out / target
        qhal.deploy(MODEL, target=target, data=str(DATA), cache=False, out=folder)
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    with pytest.raises(CrashError, match="killed"):
        alone(replace_and_die, out, targets)
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


class MuteError(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise ValueError


def raises(error: type[BaseException], *given: object, **named: object) -> NoReturn:
    """Raise an exception instead of running."""
    raise error


def with_odd_runtime(owner: str, method: str, error: type[BaseException]) -> None:
    """Let a method of a runtime raise."""
    module, _, name = owner.rpartition(".")
    setattr(getattr(import_module(module), name), method, partial(raises, error))


ORT, LITERT = "onnxruntime.InferenceSession", "ai_edge_litert.interpreter.Interpreter"


@pytest.mark.parametrize("error", [MuteError, SystemExit])
@pytest.mark.parametrize(
    ("target", "owner", "method", "said"),
    [
        ("cpu", ORT, "run", "ONNX Runtime"),
        ("cpu", ORT, "run_with_iobinding", "onnxruntime"),
        ("cpu", ORT, "__init__", "onnxruntime|ONNX Runtime"),
        ("tflite", LITERT, "invoke", "^ai-edge-litert"),
        ("tflite", LITERT, "allocate_tensors", "runtime cannot load"),
    ],
)
def test_odd_exceptions_of_a_runtime_name_it(
    tmp_path: Path, target: str, owner: str, method: str, said: str, error: type[BaseException]
) -> None:
    patch = partial(with_odd_runtime, owner, method, error)
    kind = VerificationError if owner == LITERT else ModelInvalidError
    kinds = (kind, DataValueError) if method == "run_with_iobinding" else kind
    with pytest.raises(kinds, match=said):
        alone(deploy, MODEL, target, DATA, tmp_path / "out", patch)
    assert list(tmp_path.iterdir()) == []


def exits() -> None:
    """End the process as C's exit does."""
    os._exit(0)


def test_data_that_end_the_process(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="it ends the process"):
        qhal.deploy(MODEL, target="cpu", data=exits, out=tmp_path / "out")


STATE = ["as imported"]
"""What a new process has; the caller's is another."""


def tells() -> NoReturn:
    """Say what the module has become."""
    raise ValueError(STATE[0])


def deploy_changed(data: Callable[[], object] | str, out: Path) -> None:
    """Deploy with a function of a module that has changed, where threads let nothing fork."""
    STATE[0] = "changed"
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    qhal.deploy(MODEL, target="cpu", data=data, cache=False, out=out)


@pytest.mark.parametrize("data", [tells, f"{__name__}:tells"])
def test_a_function_sees_what_its_module_has_become(
    data: Callable[[], object] | str, tmp_path: Path
) -> None:
    with pytest.raises(DataFileError, match="changed"):
        alone(deploy_changed, data, tmp_path / "out")
