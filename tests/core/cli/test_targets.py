"""``qhal targets``: the devices in groups, and what works here with each."""

from __future__ import annotations

import json

import pytest

from qhal.cli.main import main
from qhal.plugin.backend import Artifact, Backend
from qhal.plugin.info import BackendInfo
from qhal.plugin.readiness import Lack, Readiness
from qhal.plugin.registry import Registry
from qhal.quant.model import QuantModel
from qhal.targets.capability import Capabilities
from qhal.targets.profile import TargetProfile

Captured = pytest.CaptureFixture[str]


class Partial(Backend):
    """Writes for all of its devices; runs those that are not far away."""

    info = BackendInfo("partial")

    def __init__(self, install: str = "") -> None:
        self.install = install

    def readiness(self, target: TargetProfile | None = None) -> Readiness:
        is_far = target is not None and target.name.startswith("far")
        return Readiness(
            lower=Lack("no writer", self.install) if self.install else None,
            run=Lack("no such device here") if is_far else None,
        )

    def capabilities(self, target: TargetProfile) -> Capabilities:
        return Capabilities(())

    def lower(self, model: QuantModel, target: TargetProfile) -> Artifact:
        return Artifact({}, "")


def devices(*names: str, family: str = "Devices", backend: str = "partial") -> list[TargetProfile]:
    return [TargetProfile(name, backend, f"The device {name}", family) for name in names]


def show(capsys: Captured, *profiles: TargetProfile, **settings: str) -> list[str]:
    """The lines of the list; without settings the backend lacks nothing."""
    found = Registry({"partial": Partial(**settings)}, {p.name: p for p in profiles})
    assert main(["targets"], found) == 0
    return capsys.readouterr().out.splitlines()


def test_families_keep_their_order_and_names_count(capsys: Captured) -> None:
    zebras = devices("u85-1024", "u55-256", "u55-64", "u55-128", family="Zebras")
    lines = show(capsys, *zebras, *devices("ant", family="Ants"))
    assert lines == [
        "Zebras: artifacts are written and run here",
        "  u55-64    The device u55-64",
        "  u55-128   The device u55-128",
        "  u55-256   The device u55-256",
        "  u85-1024  The device u85-1024",
        "",
        "Ants: artifacts are written and run here",
        "  ant       The device ant",
        "",
        "5 devices. `qhal targets NAME` shows one with its numbers.",
    ]


def test_a_reason_that_all_share_is_said_once(capsys: Captured) -> None:
    listed = devices("a", "b", "c")
    lines = show(capsys, *listed, install="pip install partial")
    assert lines[:2] == [
        "Devices: artifacts cannot be written here",
        "  no writer: pip install partial",
    ]
    assert sum("pip install partial" in line for line in lines) == 1


def test_a_device_that_differs_says_so_itself(capsys: Captured) -> None:
    lines = show(capsys, *devices("far", "near-1", "near-2"))
    assert lines[:3] == [
        "Devices: artifacts are written and run here",
        "  far     The device far",
        "          cannot run here: no such device here",
    ]


def test_a_backend_that_is_missing(capsys: Captured) -> None:
    lines = show(capsys, *devices("lost", backend="absent"))
    assert "the backend 'absent' is not installed" in lines[1]


def test_the_catalog_fits_100_columns(capsys: Captured) -> None:
    assert main(["targets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    devices_ = [line for line in lines if line.startswith("  ") and " here: " not in line]
    assert max(map(len, devices_)) <= 100


def test_all_families_of_the_catalog_are_headings(capsys: Captured) -> None:
    assert main(["targets", "--json"]) == 0
    families = {device["family"] for device in json.loads(capsys.readouterr().out)}
    assert main(["targets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert families == {line.partition(":")[0] for line in lines if ": artifacts" in line}
    assert {"Arm Cortex-A", "Arm Cortex-M", "Arm Ethos-U", "Coral Edge TPU", "OpenVINO"} < families


def test_one_device_shows_what_works_and_numbers_without_a_unit(capsys: Captured) -> None:
    assert main(["targets", "raspberry-pi-4"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == ["backend", "cortex-a,", "from", "qhal's", "catalog"]
    assert ["cores_count", "4"] in [line[:2] for line in lines]
    assert ["cores_count", "4", "1"] not in [line[:3] for line in lines]
