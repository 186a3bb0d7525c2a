"""The options of a profile for Ethos-U, and what is said of wrong ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from qhal.errors import CatalogError
from qhal.targets.profile import TargetProfile
from qhal_backends.arm.ethosu import configuration
from qhal_backends.arm.ethosu.backend import EthosUBackend
from qhal_backends.arm.ethosu.configuration import configuration_of
from tests.backends.arm.vela_runs import U55, profile

BACKEND = EthosUBackend()
TARGET = profile(U55)


def test_a_profile_without_a_configuration() -> None:
    bare = TargetProfile("npu", "ethos-u", "an NPU", options={"accelerator": "ethos-u55-128"})
    with pytest.raises(CatalogError, match=r"targets\.npu\.options has no system_config"):
        configuration_of(bare)


def with_options(**options: str) -> TargetProfile:
    """A target of somebody's own catalog."""
    return replace(TARGET, name="mine", options={**TARGET.options, **options}, origin="my.toml")


FIRST_VALUES = {
    "accelerator": "ethos-u55-32, ethos-u55-64, ethos-u55-128",
    "system_config": "Ethos_U55_Deep_Embedded, Ethos_U55_High_End_Embedded",
    "memory_mode": "Sram_Only, Shared_Sram, Dedicated_Sram",
}
"""Option -> the first of its values."""


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize(("key", "allowed"), FIRST_VALUES.items())
def test_an_unknown_value_names_file_key_and_choices(
    monkeypatch: pytest.MonkeyPatch, key: str, allowed: str, installed: bool
) -> None:
    if not installed:
        monkeypatch.setattr(configuration, "find_spec", lambda name: None)
    with pytest.raises(CatalogError) as caught:
        BACKEND.capabilities(with_options(**{key: "Etos"}))
    said = f"my.toml: targets.mine.options.{key} is 'Etos'; allowed: {allowed}, "
    assert caught.value.message.startswith(said)


def test_a_configuration_file_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ethosu.vela", reason="ethos-u-vela is not installed: quant-hal[arm]")
    monkeypatch.chdir(tmp_path)
    folder = configuration.package_folder()
    assert folder is not None
    arm = (folder / "config_files" / configuration.ARM_CONFIG).read_text()
    Path("my.ini").write_text(arm.replace(U55.system_config, "Mine"))
    found = configuration_of(with_options(vela_config="my.ini", system_config="Mine"))
    assert found.file == str(tmp_path / "my.ini")
    with pytest.raises(CatalogError, match="allowed: Ethos_U55_Deep_Embedded, Mine, "):
        configuration_of(with_options(vela_config="my.ini"))


@pytest.mark.parametrize("content", [None, "no section", "\xff"])
def test_a_configuration_file_that_is_none(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "my.ini"
    if content is not None:
        file.write_bytes(content.encode("latin-1"))
    said = r"my\.toml: targets\.mine\.options\.vela_config is '.*my\.ini'"
    with pytest.raises(CatalogError, match=said):
        configuration_of(with_options(vela_config=str(file)))


def test_the_values_that_are_known_without_vela_are_those_of_the_package() -> None:
    pytest.importorskip("ethosu.vela", reason="ethos-u-vela is not installed: quant-hal[arm]")
    from ethosu.vela.architecture_features import Accelerator

    assert tuple(Accelerator.member_list()) == configuration.ACCELERATORS
    installed = configuration.sections_of(configuration.ARM_CONFIG)
    assert installed == configuration.ARM_SECTIONS


def test_configurations_of_the_catalog() -> None:
    from qhal.targets.catalog import builtin

    ours = [p for p in builtin().values() if p.backend == "ethos-u"]
    assert len(ours) == 10
    for target in ours:
        found = configuration_of(target)
        assert found.accelerator == target.name
        assert found.is_u85 == ("u85" in target.name)
