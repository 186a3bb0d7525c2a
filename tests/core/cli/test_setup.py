"""``qhal setup`` lists and runs what backends can prepare."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NoReturn

import pytest

from qhal.cli.main import main
from qhal.errors import MissingDependencyError
from qhal.plugin.backend import Backend
from qhal.plugin.info import BackendInfo
from qhal.plugin.machine_setup import Setup
from qhal.plugin.readiness import Lack
from qhal.plugin.registry import Registry
from qhal.progress import Progress
from qhal.quant.model import QuantModel
from qhal.targets.profile import TargetProfile

Captured = pytest.CaptureFixture[str]


class Preparing(Backend):
    """Prepares nothing, or fails to."""

    info = BackendInfo("preparing")

    def capabilities(self, target: TargetProfile) -> NoReturn:
        raise AssertionError

    def lower(self, model: QuantModel, target: TargetProfile) -> NoReturn:
        raise AssertionError

    def setups(self) -> tuple[Setup, ...]:
        return (
            Setup("parts", "spare parts", lambda: _NO_PARTS, lambda progress: "All there."),
            Setup("tools", "tools", lambda: None, _fail),
        )


_NO_PARTS = Lack("no parts", "qhal setup parts")


def _fail(progress: Progress) -> str:
    raise MissingDependencyError("No hammer.", "Run: buy hammer")


def setup(*arguments: str, backends: Sequence[Backend] = ()) -> int:
    """Run ``qhal setup`` where only these backends are installed; without any, one is."""
    found = Registry({backend.info.name: backend for backend in backends or [Preparing()]}, {})
    return main(["setup", *arguments], found)


def test_without_a_name_all_are_listed(capsys: Captured) -> None:
    assert setup() == 0
    listed = capsys.readouterr().out
    assert "spare parts" in listed
    assert "qhal setup parts" in listed


def test_the_list_as_json(capsys: Captured) -> None:
    assert setup("--json") == 0
    assert json.loads(capsys.readouterr().out) == [
        {"name": "parts", "title": "spare parts", "missing": "no parts: qhal setup parts"},
        {"name": "tools", "title": "tools", "missing": ""},
    ]


def test_a_name_is_prepared(capsys: Captured) -> None:
    assert setup("parts") == 0
    assert capsys.readouterr().out == "All there.\n"


def test_what_is_missing_is_exit_code_3(capsys: Captured) -> None:
    assert setup("tools") == 3
    assert "Run: buy hammer" in capsys.readouterr().err


def test_an_unknown_name_gets_a_near_one(capsys: Captured) -> None:
    assert setup("part") == 2
    assert "Did you mean parts?" in capsys.readouterr().err


class Rival(Preparing):
    """Has a setup of the same name."""

    info = BackendInfo("rival")


class Mute(Preparing):
    """Cannot tell what it prepares."""

    info = BackendInfo("mute")

    def setups(self) -> tuple[Setup, ...]:
        raise RuntimeError("no idea")


def test_a_name_that_two_backends_have_is_nobodys(capsys: Captured) -> None:
    rivals = (Preparing(), Rival())
    assert setup("parts", backends=rivals) == 2
    assert "'parts' is provided by backend 'preparing' and backend 'rival'" in (
        capsys.readouterr().err
    )
    assert setup(backends=rivals) == 0
    assert capsys.readouterr().out.count("spare parts") == 2


def test_a_backend_that_cannot_tell_hides_no_other(capsys: Captured) -> None:
    assert setup("parts", backends=(Mute(), Preparing())) == 0
    out, err = capsys.readouterr()
    assert out == "All there.\n"
    assert "The backend 'mute' broke in setups: RuntimeError: no idea." in err
