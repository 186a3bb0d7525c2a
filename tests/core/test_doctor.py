"""The doctor finds what is missing and names the command that mends it."""

from __future__ import annotations

from importlib import metadata

import pytest

from qhal.cli.main import main
from qhal.doctor import Check, Status, examine
from qhal.plugin.backend import Artifact, Backend
from qhal.plugin.discovery import Problem, Provider
from qhal.plugin.registry import Registry, registry
from qhal.plugin.setup import Setup
from qhal.quant.model import QuantModel
from qhal.target.capability import Capabilities
from qhal.target.profile import TargetProfile


class Odd(Backend):
    """A backend that cannot run, or cannot even tell."""

    name = "odd"

    def __init__(self, answer: str | Exception | None) -> None:
        self.answer = answer

    def unavailable(self) -> str | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def setups(self) -> tuple[Setup, ...]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return (Setup("odd-parts", "odd parts", lambda: self.answer, lambda progress: "done"),)

    def capabilities(self, target: TargetProfile) -> Capabilities:
        return Capabilities(())

    def lower(self, model: QuantModel, target: TargetProfile) -> Artifact:
        return Artifact({}, "")


PROVIDER = Provider("odd-plugin", "1.0", "odd")


def check_of(answer: str | Exception | None, *problems: Problem) -> list[Check]:
    odd = Registry({"odd": Odd(answer)}, {}, (PROVIDER,), {"odd": PROVIDER}, problems)
    return [check for check in examine(odd) if "odd" in check.subject]


def backend_of(answer: str | Exception | None) -> Check:
    return next(check for check in check_of(answer) if check.subject == "backend odd")


def test_this_installation_is_sound() -> None:
    checks = examine(registry())
    assert [check for check in checks if check.status is Status.FAILED] == []
    assert {"qhal", "python", "numpy", "onnxruntime", "backend cpu"} <= {c.subject for c in checks}


def test_a_runtime_that_is_missing_is_a_note_with_a_mend() -> None:
    check = backend_of("pip install odd-runtime")
    assert (check.status, check.mend) == (Status.NOTE, "pip install odd-runtime")


def test_a_backend_that_breaks_while_asked_is_a_note() -> None:
    check = backend_of(RuntimeError("no driver"))
    assert check.status is Status.NOTE
    assert "RuntimeError: no driver" in check.mend


def test_a_working_backend_names_its_provider() -> None:
    check = backend_of(None)
    assert (check.status, "odd-plugin 1.0" in check.detail) == (Status.OK, True)


@pytest.mark.parametrize(
    ("answer", "status", "mend"),
    [(None, Status.OK, ""), ("qhal setup odd-parts", Status.NOTE, "qhal setup odd-parts")],
)
def test_what_a_backend_prepares_is_shown(answer: str | None, status: Status, mend: str) -> None:
    [check] = [check for check in check_of(answer) if check.subject == "setup odd-parts"]
    assert (check.status, check.mend) == (status, mend)


def test_setups_that_cannot_be_told_are_a_note() -> None:
    [check] = [check for check in check_of(RuntimeError("no")) if "setups" in check.subject]
    assert check.status is Status.NOTE
    assert "RuntimeError: no" in check.detail


def test_problems_of_plugins_are_shown() -> None:
    problem = Problem(PROVIDER, "cannot be loaded.", "pip uninstall odd-plugin")
    assert check_of(None, problem)[-1].mend == "pip uninstall odd-plugin"


def test_a_missing_requirement_is_exit_code_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    version = metadata.version

    def without_numpy(name: str) -> str:
        if name == "numpy":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without_numpy)
    assert main(["doctor"]) == 3
    assert "pip install numpy" in capsys.readouterr().out
