"""Resolving targets, and what is said when that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from qhal.decisions import Code
from qhal.errors import CatalogError, MissingDependencyError, UnknownTargetError
from qhal.pipeline.check import check
from qhal.plugin.discovery import Problem, Provider
from qhal.plugin.registry import Registry, registry
from qhal.targets.profile import TargetProfile
from tests.paths import ROOT

DIGITS = ROOT / "examples" / "digits" / "digits.onnx"
BROKEN = Provider("broken-npu", "1.2", "npu")


def test_built_in_targets_resolve() -> None:
    for name in ("cpu", "tflite", "edgetpu", "edgetpu-usb2"):
        backend, profile = registry().resolve(name)
        assert profile.name == name
        assert backend.info.name == profile.backend


def test_an_unknown_target_names_near_ones() -> None:
    with pytest.raises(UnknownTargetError) as caught:
        registry().resolve("EdgTPU")
    assert "Did you mean edgetpu" in caught.value.hint
    known = caught.value.hint.partition("Known targets: ")[2]
    assert {"cpu", "edgetpu", "tflite"} <= set(known.rstrip(".").split(", "))


def test_a_missing_target_blames_the_broken_plugin() -> None:
    problem = Problem(BROKEN, "cannot be loaded: ImportError.", "pip uninstall it", ("npu",))
    found = Registry(
        backends={},
        targets={"my-npu": TargetProfile("my-npu", backend="npu", title="An NPU", origin="x.toml")},
        problems=(problem,),
    )
    with pytest.raises(
        MissingDependencyError, match=r"'my-npu' \(x\.toml\) needs the backend 'npu'"
    ) as missing:
        found.resolve("my-npu")
    assert "broken-npu 1.2" in missing.value.hint
    with pytest.raises(UnknownTargetError) as unknown:
        found.resolve("npu")
    assert "broken-npu 1.2" in unknown.value.hint


def test_the_users_file_adds_and_extends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "targets.toml").write_text(
        '[targets.board]\nextends = "edgetpu"\ntitle = "My board"\n'
    )
    monkeypatch.chdir(tmp_path)
    _, board = registry().resolve("board")
    _, edgetpu = registry().resolve("edgetpu")
    assert (board.title, board.backend) == ("My board", "edgetpu")
    assert board.facts == edgetpu.facts


def test_an_option_that_the_backend_does_not_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[targets.board]\nextends = "openvino-npu"\noptions.devise = "CPU"\n')
    with pytest.raises(CatalogError) as caught:
        registry(path).resolve("board")
    assert f"{path}: targets.board.options.devise is unknown" in caught.value.message
    assert "the backend 'openvino' reads device, runs_on" in caught.value.message
    assert caught.value.hint == "Did you mean device?"


def test_a_fact_that_looks_misspelled_is_told(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    fact = '{ value = 1, unit = "B", source = "here" }'
    path.write_text(
        '[targets.a]\nextends = "cortex-m7"\n'
        f"facts = {{ flsh_bytes = {fact}, flash_bytes = {fact}, boot_loader_bytes = {fact} }}\n"
    )
    found = registry(path)
    (doubt,) = found.doubts(found.profile("a"))
    assert doubt.code is Code.FACT_UNKNOWN
    assert "flsh_bytes" in doubt.sentence
    assert doubt.sentence.endswith("Did you mean flash_bytes?")
    assert not [d for profile in registry().targets.values() for d in registry().doubts(profile)]
    report = check(DIGITS, target="a", targets_file=path)
    assert doubt in report.decisions


def test_all_devices_of_the_catalog_have_options_that_are_read() -> None:
    found = registry()
    for name in found.targets:
        found.resolve(name)


def test_an_explicit_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"nothing\.toml is not a file"):
        registry(tmp_path / "nothing.toml")
