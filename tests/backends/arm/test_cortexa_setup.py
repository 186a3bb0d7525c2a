"""``qhal setup arm-emulator``: what it needs, what it says, and what it makes."""

from __future__ import annotations

import json
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from qhal.cli.main import main
from qhal.errors import MissingDependencyError
from qhal.progress import SILENT
from qhal.system.children import Ended
from qhal_backends.arm.cortexa_cores import CORES
from qhal_backends.arm.emulator import counter, debian, emulator_setup, wheels
from qhal_backends.arm.emulator.folder import SCHEMA, Folder, find_folder, lacks_emulator

Add = Callable[..., None]


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Add:
    """A PATH with nothing but what a test puts there, and a cache of its own."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setenv("QHAL_CACHE", str(tmp_path / "cache"))

    def add(name: str, *lines: str) -> None:
        file = path / name
        file.write_text("\n".join(("#!/bin/sh", *lines, "")), encoding="utf-8")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    return add


def test_all_that_is_missing_is_named_at_once_with_exit_code_3(
    programs: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["setup", "arm-emulator"]) == 3
    complaint = capsys.readouterr().err
    for word in ("apt-get", "dpkg-deb", "qemu-aarch64", "a C compiler"):
        assert word in complaint
    assert "apt-get install qemu-user" in complaint
    assert "Traceback" not in complaint


def test_what_is_missing_is_told_in_the_order_in_which_it_is_fixed(
    programs: Add, tmp_path: Path
) -> None:
    assert "apt-get install qemu-user" in str(lacks_emulator())
    programs("qemu-aarch64")
    assert "qhal setup arm-emulator" in str(lacks_emulator())
    folder = find_folder()
    assert folder is not None
    assert folder.path.parent == tmp_path / "cache" / "arm-emulator"
    folder.path.mkdir(parents=True)
    (folder.path / "manifest.json").write_text(json.dumps({"schema": SCHEMA}), encoding="utf-8")
    assert lacks_emulator() is None


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 0}', "{"])
def test_a_manifest_that_is_not_whole_means_that_nothing_is_there(
    tmp_path: Path, content: str
) -> None:
    (tmp_path / "manifest.json").write_text(content, encoding="utf-8")
    assert Folder(tmp_path).manifest is None


def test_an_archive_that_cannot_be_reached_is_one_clear_error(
    programs: Add, tmp_path: Path
) -> None:
    unreachable = "echo 'E: Failed to fetch http://x/InRelease' >&2"
    programs("apt-get", "echo 'W: old' >&2", unreachable, "exit 100")
    with pytest.raises(
        MissingDependencyError,
        match=r"`apt-get update` ended with exit code 100 and printed: E: Failed to fetch",
    ):
        debian.download(tmp_path / "debs", tmp_path / "apt")


def test_apt_gets_files_of_its_own_for_another_architecture(programs: Add, tmp_path: Path) -> None:
    programs("apt-get", f'echo "$@" >> {tmp_path}/said')
    debian.download(tmp_path / "debs", tmp_path / "apt")
    update, download = (tmp_path / "said").read_text(encoding="utf-8").splitlines()
    assert f"Dir::State={tmp_path / 'apt'}" in update
    assert "APT::Architecture=arm64" in download
    assert download.endswith(" ".join(debian.PACKAGES))
    assert "[arch=arm64 signed-by=" in (tmp_path / "apt" / "sources.list").read_text()


def test_a_wheel_that_does_not_exist_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.setenv(variable, (tmp_path / "nothing").as_uri())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        MissingDependencyError,
        match=r"pip ended with exit code 1 and printed: ERROR: .*ai-edge-litert==0\.0",
    ):
        wheels.download("ai-edge-litert==0.0", tmp_path / "wheels")


def test_a_damaged_wheel_is_removed_so_that_the_next_attempt_fetches_it(tmp_path: Path) -> None:
    good, bad = tmp_path / "a.whl", tmp_path / "b.whl"
    with zipfile.ZipFile(good, "w") as archive:
        archive.writestr("a/__init__.py", "")
    bad.write_bytes(b"half of a wheel")
    with pytest.raises(MissingDependencyError, match=r"b\.whl .*damaged"):
        wheels.unpack(tmp_path, tmp_path / "site")
    assert (tmp_path / "site" / "a" / "__init__.py").is_file()
    assert good.exists()
    assert not bad.exists()


def test_of_two_versions_the_later_download_stays(tmp_path: Path) -> None:
    for age, name in enumerate(("numpy-2.0-x.whl", "tqdm-4.0.whl", "numpy-2.1-x.whl")):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (age, age))
    newest = emulator_setup._newest(tmp_path, "-")
    assert [p.name for p in newest] == [
        "numpy-2.1-x.whl",
        "tqdm-4.0.whl",
    ]
    assert not (tmp_path / "numpy-2.0-x.whl").exists()


@pytest.mark.parametrize("name", CORES)
def test_every_core_sees_the_common_root_and_itself(tmp_path: Path, name: str) -> None:
    folder = Folder(tmp_path)
    for part in ("etc", "lib", "usr"):
        (folder.root / part).mkdir(parents=True)
    emulator_setup.show_core(folder, CORES[name])
    seen = folder.core(name)
    described = (seen / "proc" / "cpuinfo").read_text(encoding="utf-8")
    assert described.count("CPU implementer\t: 0x41\n") == 4
    assert described.count(f"CPU part\t: {CORES[name].part:#x}\n") == 4
    assert (seen / "usr").resolve() == folder.root / "usr"


def test_a_finished_setup_is_left_alone(programs: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    programs("qemu-aarch64", "echo qemu-aarch64 version 7.2.22")
    monkeypatch.setattr(emulator_setup, "check_programs", lambda: None)
    monkeypatch.setattr(debian, "download", lambda *_: pytest.fail("downloads again"))
    folder = find_folder()
    assert folder is not None
    folder.path.mkdir(parents=True)
    manifest = {"schema": SCHEMA, "packages": [{"file": "a"}], "wheels": [{"file": "b"}]}
    (folder.path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    said = emulator_setup.prepare(SILENT)
    assert "2 packages and wheels, qemu-aarch64 7.2.22" in said
    assert "Instructions cannot be counted: There is no C compiler" in said


def fake_machine(wanted: int, ran: list[str]) -> Callable[[list[str], float], Ended]:
    """A QEMU that takes plugins of one interface version, and a compiler for it."""

    def run(command: list[str], timeout_s: float) -> Ended:
        ran.append(" ".join(command))
        if command[0] == "cc":
            Path(command[command.index("-o") + 1]).write_text(command[-4], encoding="utf-8")
            return Ended(code=0)
        if command[1] == "--version":
            return Ended("qemu-aarch64 version 9.9.1 (Debian)", code=0)
        if f"VERSION={wanted}" in Path(command[2]).read_text(encoding="utf-8"):
            return Ended(code=0)
        refusal = (
            f"requires API version 1, but this QEMU supports only a minimum version of {wanted}"
        )
        return Ended(err=f"{refusal if wanted else 'no plugins'}\n", code=1)

    return run


@pytest.mark.parametrize("wanted", [1, 4])
def test_the_plugin_is_compiled_for_the_interface_that_qemu_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: int
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(counter, "find_compiler", lambda: "cc")
    monkeypatch.setattr(counter, "run_tied", fake_machine(wanted, ran))
    made = counter.prepare_counter(Folder(tmp_path))
    assert made.name == "count-9.9.1.so"
    assert f"VERSION={wanted}" in made.read_text(encoding="utf-8")
    assert counter.prepare_counter(Folder(tmp_path)) == made
    assert sum(command.startswith("cc") for command in ran) == (1 if wanted == 1 else 2)


def test_a_qemu_without_plugins_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counter, "find_compiler", lambda: "cc")
    monkeypatch.setattr(counter, "run_tied", fake_machine(0, []))
    with pytest.raises(MissingDependencyError, match="no plugins"):
        counter.prepare_counter(Folder(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["setup"], ["setup", "--json"]])
def test_what_can_be_prepared_is_listed(
    programs: Add, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main(arguments) == 0
    assert "arm-emulator" in capsys.readouterr().out


def test_an_unknown_name_gets_a_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["setup", "arm-emulatr"]) == 2
    assert "Did you mean arm-emulator?" in capsys.readouterr().err
