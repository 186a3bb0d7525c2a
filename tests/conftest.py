"""Fixtures that all tests share, and the option that rewrites golden texts."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from qhal.system import telemetry
from qhal.system.trail import trail
from tests.paths import ROOT

UPDATE = "--update-goldens"
WHOLE = "--whole-sweep"

Golden = Callable[[str, str], None]


def pytest_configure(config: pytest.Config) -> None:
    """Keep the runtimes that tests load from reporting it, and give Ctrl-C its usual meaning.

    Programs that run in the background are often started with SIGINT ignored, and pass that on.
    """
    telemetry.turn_off()
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """``pytest --update-goldens`` writes the texts of tests/golden instead of comparing them.

    ``--whole-sweep`` tries every case of tests/operators instead of a part of them.
    """
    parser.addoption(UPDATE, action="store_true", help="write tests/golden again; review the diff")
    parser.addoption(WHOLE, action="store_true", help="try every case of every operator")


@pytest.fixture(autouse=True, scope="session")
def in_place() -> None:
    """Do the work of calls in this process, which has threads: a new one each takes a second.

    Commands that tests start are guarded as always; see tests/core/system/test_guard.py.
    """
    trail().watched = True


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare a text with a file of tests/golden, such as ``golden("ir/small.txt", text)``."""
    update = bool(request.config.getoption(UPDATE))

    def compare(name: str, text: str) -> None:
        path = ROOT / "tests" / "golden" / name
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"no {path}; run: pytest {UPDATE}"
        assert text == path.read_text(encoding="utf-8"), f"if meant so, run: pytest {UPDATE}"

    return compare


@pytest.fixture(scope="session")
def zoo() -> Path:
    """The folder of real models and data; tests that need it skip when it is absent."""
    folder = os.environ.get("QHAL_ZOO")
    if not folder:
        pytest.skip("no model zoo: set QHAL_ZOO to the folder that holds zoo/manifest.toml")
    root = Path(folder).resolve() / "zoo"
    if not (root / "manifest.toml").is_file():
        pytest.skip(f"no model zoo at {root}; set QHAL_ZOO to the folder that holds it")
    return root


@pytest.fixture
def whole_sweep(request: pytest.FixtureRequest) -> bool:
    """Whether every case of tests/operators is tried."""
    return bool(request.config.getoption(WHOLE))
