"""What breaks in a plugin is reported in the plugin's name, wherever it is called."""

from __future__ import annotations

import errno
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import qhal
from qhal.artifact.runnable import Subject, run_raw
from qhal.cli.main import main
from qhal.errors import MissingDependencyError, PluginError, VerificationError
from qhal.ir.importer import import_model
from qhal.measure.timing import Pair
from qhal.pipeline.served import find_target
from qhal.plugin import calls
from qhal.plugin import registry as registry_module
from qhal.plugin.backend import Backend
from qhal.plugin.calls import blaming
from qhal.plugin.registry import registry
from qhal.progress import SILENT
from tests.core.conftest import Toys
from tests.paths import ROOT
from tests.plugins.distributions import installed

MODEL = ROOT / "examples" / "digits" / "digits.onnx"
DATA = ROOT / "examples" / "digits" / "calibration.npz"
WHO = "The backend 'breaking-npu' of breaking-npu 1.2 broke in"
REPORT = "This is a bug in breaking-npu 1.2; please report it there."


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The plugin of tests/plugins/data/breaking is there for a test."""
    monkeypatch.syspath_prepend(installed(tmp_path / "site", "breaking"))
    monkeypatch.delitem(sys.modules, "breaking_npu", raising=False)
    registry_module._plugins.cache_clear()
    yield
    monkeypatch.undo()
    registry_module._plugins.cache_clear()


def lowered(way: str) -> Subject:
    """The float model for one of the plugin's targets."""
    served = find_target(f"breaking-{way}", "w8a8")
    return served.lower(served.prepare(import_model(MODEL)).float_model)


def examined(way: str) -> object:
    image = np.zeros((1, 1, 8, 8), np.float32)
    return Pair(lowered(way), None, {"image": image}).examine()


@pytest.mark.parametrize(
    ("way", "call", "said"),
    [
        ("capabilities", lowered, "capabilities: KeyError: 'in capabilities'."),
        ("lower", lowered, "lower: KeyError: 'in lower'."),
        ("placement", lambda way: lowered(way).placement(), "placement: KeyError: 'in placement'."),
        ("readiness", lambda way: lowered(way).load(), "readiness: KeyError: 'in readiness'"),
        ("examine", examined, "examine: KeyError: 'in examine'."),
        ("limit", lowered, "capabilities: limit odd_limit on Conv stem: KeyError: 'in the limit'."),
        ("native", lowered, "capabilities: limit odd_limit on Conv "),
        ("sentence", lowered, "capabilities: limit odd_sentence on Conv stem: it returned True, "),
        ("answer", lowered, "lower: it returned None (NoneType) instead of Artifact."),
        ("invariant", lowered, "lower: a metric in us is not finite: [nan]."),
    ],
)
def test_what_breaks_names_who_brings_it(
    way: str, call: Callable[[str], object], said: str
) -> None:
    with pytest.raises(PluginError) as caught:
        call(way)
    assert caught.value.message.startswith(f"{WHO} {said}"), caught.value.message
    assert caught.value.hint == REPORT
    assert caught.value.__cause__ is not None


def test_an_artifact_that_cannot_be_is_told() -> None:
    with pytest.raises(PluginError) as caught:
        lowered("artifact")
    assert (
        caught.value.message == f"{WHO} lower: The artifact's file name 'record.json' is reserved."
    )
    assert caught.value.hint.splitlines()[1] == REPORT


def test_an_examination_without_findings_is_told() -> None:
    with pytest.raises(PluginError, match=r"examine: it returned None .* of Findings"):
        examined("load")


def test_what_a_runtime_does_not_load_stays_a_failed_verification() -> None:
    with pytest.raises(VerificationError) as caught:
        lowered("load").load()
    said = f"The runtime cannot load model.onnx. {WHO} load: KeyError: 'in load'."
    assert (caught.value.message, caught.value.hint) == (said, REPORT)


@pytest.mark.parametrize(
    ("way", "said", "why"),
    [
        ("run", "run: KeyError: 'in run'.", "'in run'"),
        ("outputs", "run: it returned None (NoneType) instead of dict.", ""),
    ],
)
def test_a_runner_that_breaks_names_who_brings_it(way: str, said: str, why: str) -> None:
    subject = lowered(way)
    inputs = {"image": np.zeros((1, 1, 8, 8), np.float32)}
    runner = subject.load()
    assert runner is not None
    with pytest.raises(PluginError) as caught:
        runner.run(inputs)
    assert (caught.value.message, caught.value.hint) == (f"{WHO} {said}", REPORT)
    with pytest.raises(VerificationError, match=r"cannot run model\.onnx: ") as failed:
        run_raw(runner, subject, inputs)
    assert why in failed.value.message
    assert failed.value.hint == REPORT


def test_what_is_raised_on_purpose_passes() -> None:
    with pytest.raises(MissingDependencyError) as caught:
        lowered("refusal")
    assert str(caught.value) == "The license is missing. Buy one."


def test_a_package_that_is_missing_is_that_of_an_extra() -> None:
    with pytest.raises(MissingDependencyError) as caught:
        lowered("import")
    assert caught.value.message == "The package 'npu_sdk' is not installed."
    assert caught.value.hint == 'Run: pip install "breaking-npu[sdk]"'


@pytest.mark.parametrize(
    ("backend", "module", "wanted"),
    [
        ("tflite", "ai_edge_litert.interpreter", '"quant-hal[tflite]"'),
        ("edgetpu", "flatbuffers", '"quant-hal[tflite]"'),
        ("openvino", "openvino", '"quant-hal[openvino]"'),
        ("ethos-u", "ethosu.vela", '"quant-hal[arm]"'),
        ("cortex-m", "tflite_micro", '"quant-hal[arm]"'),
        ("tflite", "somebody_else", "somebody_else"),
    ],
)
def test_built_in_backends_state_their_packages(
    backend: str, module: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qhal.plugin.calls.find_spec", lambda name: None)
    with (
        pytest.raises(MissingDependencyError) as caught,
        blaming(registry().provided(backend), "x"),
    ):
        raise ModuleNotFoundError(name=module)
    assert caught.value.hint == f"Run: pip install {wanted}"


def test_a_module_that_an_installed_package_lacks_is_a_bug() -> None:
    cpu = registry().provided("cpu")
    with pytest.raises(PluginError, match="broke in lower"), blaming(cpu, "lower"):
        import_module("qhal.there_is_no_such_module")


def test_a_full_disk_is_nobodys_bug() -> None:
    with pytest.raises(OSError, match="No space"), blaming(registry().provided("cpu"), "lower"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_an_exit_is_a_bug_too() -> None:
    broken = registry().provided("breaking-npu")
    with pytest.raises(PluginError, match="SystemExit: no license"), blaming(broken, "lower"):
        sys.exit("no license")


def test_a_built_in_backend_has_no_privilege() -> None:
    with pytest.raises(PluginError) as caught, blaming(registry().provided("cpu"), "lower"):
        raise ValueError("a bug")
    version = qhal.__version__
    assert caught.value.message == (
        f"The backend 'cpu' of quant-hal {version} broke in lower: ValueError: a bug."
    )
    assert caught.value.hint == f"This is a bug in quant-hal {version}; please report it there."


def test_functions_of_setups_are_the_backends(capsys: pytest.CaptureFixture[str]) -> None:
    [setup] = calls.call(registry().provided("breaking-npu"), Backend.setups)
    for function in (setup.missing, lambda: setup.run(SILENT)):
        with pytest.raises(PluginError, match="setup breaking: KeyError: 'in the setup'"):
            function()
    assert main(["setup"]) == 0
    assert "arm-emulator" in capsys.readouterr().out


def test_every_method_of_a_backend_is_called_in_its_name() -> None:
    methods = {name for name, value in vars(Backend).items() if inspect.isfunction(value)}
    assert methods == set(calls._ANSWERS)
    call = re.compile(rf"backend\.({'|'.join(methods)})\(")
    core = ROOT / "core" / "qhal"
    files = [path for path in core.rglob("*.py") if path.parent != core / "plugin"]
    assert [path.name for path in files if call.search(path.read_text(encoding="utf-8"))] == []


# --- the command ------------------------------------------------------------------


def deploy(targets: str, out: Path) -> int:
    return main(
        ["deploy", str(MODEL), "--target", targets, f"--data={DATA}", f"--out={out}", "--no-cache"]
    )


def test_the_command_says_whose_bug_it_is_and_keeps_the_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert deploy("breaking-lower", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert f"error QH701: {WHO} lower: KeyError: 'in lower'.\n  {REPORT}\n" in err
    assert "Traceback" not in err
    [saved] = tmp_path.glob("qhal-bug-*.txt")
    assert f"The traceback is in {saved}. QHAL_TRACEBACK=1 prints the traceback." in err
    assert "breaking_npu.py" in saved.read_text()
    monkeypatch.setenv("QHAL_TRACEBACK", "1")
    assert deploy("breaking-lower", tmp_path / "out") == 2
    assert "Traceback" in capsys.readouterr().err


def test_it_fails_alone(tmp_path: Path) -> None:
    fleet = qhal.deploy_all(
        MODEL, targets=["breaking-lower", "cpu"], data=DATA, out=tmp_path / "out"
    )
    broken, done = fleet.outcomes
    assert isinstance(broken.error, PluginError)
    assert done.record is not None
    assert fleet.exit_code == 2


def test_a_backend_that_no_plugin_brings_has_its_name_alone(toys: Toys) -> None:
    assert toys.subject(toys.model).provided.name == "backend 'toy'"
