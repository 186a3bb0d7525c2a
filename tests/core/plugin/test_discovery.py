"""One broken plugin never takes qhal down: each way to be broken is a distribution on disk."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import qhal
from qhal.plugin.discovery import Found, discover
from tests.plugins.distributions import EVERY, installed

Install = Callable[..., Found]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Install:
    """Install distributions of tests/plugins/data and discover."""

    def run(*folders: str, reserved: tuple[str, ...] = ()) -> Found:
        for folder in folders:
            site = installed(tmp_path / folder, folder)
            monkeypatch.syspath_prepend(site)
            for module in site.glob("*.py"):
                monkeypatch.delitem(sys.modules, module.stem, raising=False)
        return discover(reserved)

    return run


def problems_of(found: Found, distribution: str) -> list[str]:
    return [str(p) for p in found.problems if p.provider.distribution == distribution]


@pytest.mark.parametrize(
    ("folder", "distribution", "words"),
    [
        ("import-error", "broken-import", "No module named 'a_package_that_does_not_exist'"),
        ("system-exit", "broken-exit", "SystemExit: no license found"),
        ("wrong-api", "broken-api", "for version 99 of the plugin interface; this qhal has"),
        ("not-a-backend", "broken-type", "returned 'a text' (str) as a backend"),
        ("hook-raises", "broken-hook", "RuntimeError: the driver does not answer"),
        ("unknown-hook", "broken-typo", "unknown hook qhal_backend"),
        (
            "odd-packages",
            "broken-packages",
            "Backend 'odd-packages' has an invalid value for packages: ('npu_sdk',)",
        ),
        ("no-info", "broken-info", "returned a Nameless that has no BackendInfo"),
        ("no-hook", "broken-empty", "implements no hook of qhal"),
    ],
)
def test_a_broken_plugin_is_a_problem(
    install: Install, folder: str, distribution: str, words: str
) -> None:
    before = install()
    found = install(folder)
    problems = problems_of(found, distribution)
    assert any(words in problem for problem in problems), problems
    assert all("pip" in p or "qhal" in p for p in problems), "no fix is given"
    assert set(found.backends) == set(before.backends)


def test_a_sound_plugin_stays_when_all_others_break(install: Install) -> None:
    found = install(*EVERY, reserved=("edgetpu",))
    assert "sound-npu" in found.backends
    assert str(found.backend_providers["sound-npu"]) == "sound-npu 0.3 (entry point sound-npu)"
    target = found.targets["sound-npu"]
    assert target.title == "A sound NPU"
    assert target.origin == "sound-npu 0.3 (entry point sound-npu)"


def test_what_a_plugin_prints_stays_off_stdout(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("sound")
    out, err = capsys.readouterr()
    assert out == ""
    assert "hello from a plugin" in err


def test_the_entry_point_called_like_its_backend_keeps_the_name(install: Install) -> None:
    found = install("clash")
    [problem] = problems_of(found, "clashing-cpu")
    assert "clashing-cpu 3.1" in problem
    assert f"quant-hal {qhal.__version__} (entry point cpu)" in problem
    assert found.backend_providers["cpu"].distribution == "quant-hal"


def test_equal_claims_leave_the_name_to_nobody(install: Install) -> None:
    found = install("twins")
    assert "twin" not in found.backends
    [one] = problems_of(found, "twin-one")
    [two] = problems_of(found, "twin-two")
    assert "twin-two 2.0" in one
    assert "twin-one 1.0" in two


def test_a_plugin_cannot_take_a_device_of_the_catalog(install: Install) -> None:
    found = install("stolen-target", reserved=("edgetpu",))
    assert "edgetpu" not in found.targets
    [problem] = problems_of(found, "stolen-target")
    assert "the catalog of qhal itself" in problem
