"""The machine is described in JSON, wherever qhal runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import pytest

from qhal import host


def test_description_is_json() -> None:
    found = host.describe()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert isinstance(found["cores"], int)
    assert found["cores"] >= 1
    assert found["cpu"]


def test_versions() -> None:
    found = host.versions()
    assert found["numpy"] == numpy.__version__
    assert "quant-hal" in found
    assert "rich" not in found
    assert host.versions(["rich", "there-is-no-such-package"]).keys() - found.keys() == {"rich"}


def test_systems_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise OSError("no /proc here")

    monkeypatch.setattr(Path, "read_text", refuse)
    assert host.peak_memory_bytes() is None
    assert host.describe()["cpu"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux only")
def test_peak_memory() -> None:
    found = host.peak_memory_bytes()
    assert found is not None
    assert found > 10_000_000


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QHAL_CACHE", "/a")
    assert host.cache_folder() == Path("/a")
    monkeypatch.delenv("QHAL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert host.cache_folder() == Path("/b/qhal")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/c")
    assert host.cache_folder() == Path("/c/.cache/qhal")


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for variable in ("QHAL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert host.cache_folder() is None
