"""The doctor finds what is missing and names the command that fixes it."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import metadata

import pytest

from qhal.cli.main import main
from qhal.doctor import Check, CheckStatus, examine
from qhal.errors import UnknownTargetError
from qhal.plugin.backend import Artifact, Backend
from qhal.plugin.discovery import Problem, Provider
from qhal.plugin.info import BackendInfo
from qhal.plugin.machine_setup import Setup
from qhal.plugin.readiness import Lack, Readiness
from qhal.plugin.registry import Registry, registry
from qhal.quant.model import QuantModel
from qhal.targets.capability import Capabilities
from qhal.targets.profile import TargetProfile


def lack(fix: str | None) -> Lack | None:
    return None if fix is None else Lack("it is not installed", fix)


class Odd(Backend):
    """A backend that cannot run, or cannot even tell."""

    info = BackendInfo("odd")

    def __init__(
        self,
        answer: str | Exception | None,
        *,
        lowering: str | None = None,
        absent: str | None = None,
        optional: bool = False,
    ) -> None:
        self.answer = answer
        self.lowering = lowering
        self.absent = absent
        self.optional = optional

    def readiness(self, target: TargetProfile | None = None) -> Readiness:
        if isinstance(self.answer, Exception):
            raise self.answer
        is_far = target is not None and target.name == "odd-far"
        return Readiness(lack(self.lowering), lack(self.absent if is_far else self.answer))

    def setups(self) -> tuple[Setup, ...]:
        if isinstance(self.answer, Exception):
            raise self.answer
        missing = lack(self.answer)
        parts = Setup("odd-parts", "odd parts", lambda: missing, lambda progress: "done")
        return (replace(parts, optional=self.optional),)

    def capabilities(self, target: TargetProfile) -> Capabilities:
        return Capabilities(())

    def lower(self, model: QuantModel, target: TargetProfile) -> Artifact:
        return Artifact({}, "")


PROVIDER = Provider("odd-plugin", "1.0", "odd")


TARGETS = {name: TargetProfile(name, "odd", "Odd") for name in ("odd-near", "odd-far")}
LONELY = TargetProfile("lonely", "absent", "Nobody serves it", origin="mine.toml")


def found(backend: Backend, *problems: Problem) -> Registry:
    targets = {**TARGETS, "lonely": LONELY}
    return Registry({"odd": backend}, targets, (PROVIDER,), {"odd": PROVIDER}, problems)


def check_of(answer: str | Exception | None, *problems: Problem) -> list[Check]:
    return [c for c in examine(found(Odd(answer), *problems)) if "odd" in c.subject]


def backend_of(answer: str | Exception | None) -> Check:
    return next(check for check in check_of(answer) if check.subject == "backend odd")


def status_of(backend: Backend, subject: str, *targets: str) -> CheckStatus:
    [check] = [c for c in examine(found(backend), targets) if c.subject == subject]
    return check.status


def test_this_installation_is_sound() -> None:
    checks = examine(registry())
    assert [check for check in checks if check.status is CheckStatus.FAILED] == []
    assert all(check.fix for check in checks if check.status is CheckStatus.MISSING)
    assert {"qhal", "python", "numpy", "onnxruntime", "backend cpu"} <= {c.subject for c in checks}


def test_a_runtime_that_is_missing_has_a_fix() -> None:
    check = backend_of("pip install odd-runtime")
    assert (check.status, check.fix) == (CheckStatus.MISSING, "pip install odd-runtime")


def test_a_compiler_that_is_missing_has_a_fix() -> None:
    odd = Odd("pip install odd-runtime", lowering="pip install odd-compiler")
    [check] = [c for c in examine(found(odd)) if c.subject == "backend odd"]
    assert (check.status, check.fix) == (CheckStatus.MISSING, "pip install odd-compiler")


def test_a_backend_that_breaks_while_asked_is_a_note() -> None:
    check = backend_of(RuntimeError("no driver"))
    assert check.status is CheckStatus.NOTE
    assert "RuntimeError: no driver" in check.detail


def test_a_device_that_is_absent_is_a_note() -> None:
    odd = Odd(None, absent="there is no such device here")
    assert status_of(odd, "target odd-far") is CheckStatus.NOTE
    assert status_of(odd, "backend odd") is CheckStatus.OK
    assert "target odd-near" not in {check.subject for check in examine(found(odd))}


def test_a_target_without_its_backend_lacks_it() -> None:
    [check] = [c for c in examine(found(Odd(None))) if c.subject == "backend absent"]
    assert check.status is CheckStatus.MISSING
    assert "'lonely' (mine.toml)" in check.detail
    assert "Installed backends: odd" in check.fix


def test_a_working_backend_names_its_provider() -> None:
    check = backend_of(None)
    assert (check.status, "odd-plugin 1.0" in check.detail) == (CheckStatus.OK, True)


@pytest.mark.parametrize(
    ("answer", "status", "fix"),
    [
        (None, CheckStatus.OK, ""),
        ("qhal setup odd-parts", CheckStatus.MISSING, "qhal setup odd-parts"),
    ],
)
def test_what_a_backend_prepares_is_shown(
    answer: str | None, status: CheckStatus, fix: str
) -> None:
    [check] = [check for check in check_of(answer) if check.subject == "setup odd-parts"]
    assert (check.status, check.fix) == (status, fix)


def test_what_targets_can_do_without_is_noted() -> None:
    assert status_of(Odd("buy it", optional=True), "setup odd-parts") is CheckStatus.NOTE


def test_setups_that_cannot_be_told_are_a_note() -> None:
    [check] = [check for check in check_of(RuntimeError("no")) if "setups" in check.subject]
    assert check.status is CheckStatus.NOTE
    assert "RuntimeError: no" in check.detail


def test_problems_of_plugins_are_shown() -> None:
    problem = Problem(PROVIDER, "cannot be loaded.", "pip uninstall odd-plugin")
    assert check_of(None, problem)[-1].fix == "pip uninstall odd-plugin"


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


# --- asking about some targets alone, and the exit code ---------------------------


def test_only_what_a_target_needs_is_looked_at() -> None:
    problem = Problem(PROVIDER, "cannot be loaded.", "pip uninstall odd-plugin")
    lacking = found(Odd("pip install odd-runtime"), problem)
    subjects = {check.subject for check in examine(lacking, ["lonely"])}
    assert "backend absent" in subjects
    assert not {s for s in subjects if "odd" in s}
    assert "setup odd-parts" in {check.subject for check in examine(lacking, ["odd-near"])}


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(UnknownTargetError, match="There is no target 'odd-nera'") as caught:
        examine(found(Odd(None)), ["odd-nera"])
    assert "Did you mean odd-near" in caught.value.hint


@pytest.mark.parametrize(
    ("backend", "targets", "code"),
    [
        (Odd(None, absent="no device"), "odd-near,odd-far", 0),
        (Odd("pip install odd-runtime"), "odd-near", 3),
        (Odd(RuntimeError("broken")), "odd-near", 0),
        (Odd(None), "odd-near,lonely", 3),
        (Odd(None), "odd-nera", 2),
        (Odd(None), "odd-near,odd-near", 2),
        (Odd(None), "odd-near,", 2),
    ],
)
def test_the_exit_code_says_whether_something_is_missing(
    backend: Backend, targets: str, code: int
) -> None:
    assert main(["doctor", targets], found(backend)) == code


def test_the_command_is_printed_once_for_all_that_want_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lacking = found(Odd("pip install odd-runtime"))
    assert main(["doctor", "odd-near"], lacking) == 3
    out = capsys.readouterr().out
    assert (
        "\nbackend odd, setup odd-parts:\n  it is not installed: pip install odd-runtime\n" in out
    )
    assert main(["doctor", "odd-near", "--json"], lacking) == 3
    statuses = {check["status"] for check in json.loads(capsys.readouterr().out)}
    assert statuses == {"ok", "missing"}
