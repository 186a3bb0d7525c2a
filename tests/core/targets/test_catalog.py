"""The catalog's format is strict: every mistake names file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from qhal.errors import CatalogError
from qhal.targets import catalog
from tests.paths import ROOT

GOOD = """
[targets.npu]
backend = "npu-backend"
title = "An NPU"
family = "Invented"

[targets.npu.facts]
clock_hz = { value = 500e6, unit = "Hz", source = "data sheet, page 3" }
active_power_w = { value = 2, unit = "W", source = "data sheet, page 4" }

[targets.npu.options]
mode = "fast"

[targets.slow]
extends = "npu"
title = "A slow NPU"
facts.clock_hz = { value = 1e6, unit = "Hz", source = "data sheet, page 5" }
"""


def test_a_profile_is_read() -> None:
    npu = catalog.parse(GOOD, "a.toml", {})["npu"]
    assert (npu.backend, npu.title, npu.family, npu.origin) == (
        "npu-backend",
        "An NPU",
        "Invented",
        "a.toml",
    )
    assert npu.facts["clock_hz"].value == 500e6
    assert npu.facts["active_power_w"].source == "data sheet, page 4"
    assert npu.options == {"mode": "fast"}


def test_extends_takes_everything_that_is_not_given() -> None:
    profiles = catalog.parse(GOOD, "a.toml", {})
    slow = profiles["slow"]
    assert (slow.name, slow.title, slow.backend) == ("slow", "A slow NPU", "npu-backend")
    assert slow.facts["clock_hz"].value == 1e6
    assert slow.facts["active_power_w"] == profiles["npu"].facts["active_power_w"]


def test_extending_ones_own_name_changes_the_layer_below() -> None:
    below = catalog.parse(GOOD, "a.toml", {})
    above = catalog.parse('[targets.npu]\nextends = "npu"\ntitle = "Mine"\n', "b.toml", below)
    assert above["npu"].title == "Mine"
    assert above["npu"].facts == below["npu"].facts
    assert above["npu"].origin == "b.toml"


def test_changing_a_device_without_extending_it_gets_a_hint() -> None:
    below = catalog.parse(GOOD, "a.toml", {})
    with pytest.raises(CatalogError, match=r"targets\.npu has no backend") as caught:
        catalog.parse('[targets.npu]\ntitle = "Mine"\n', "b.toml", below)
    assert caught.value.hint.startswith('extends = "npu" takes everything else')


def test_another_backend_takes_no_options_over() -> None:
    below = catalog.parse(GOOD, "a.toml", {})
    text = """
[targets.same]
extends = "npu"
options.speed = "low"

[targets.other]
extends = "npu"
backend = "other-backend"
options.speed = "low"
"""
    above = catalog.parse(text, "b.toml", below)
    assert above["same"].options == {"mode": "fast", "speed": "low"}
    assert above["other"].options == {"speed": "low"}
    assert above["other"].facts == below["npu"].facts


def test_an_empty_file_adds_nothing() -> None:
    assert catalog.parse("", "a.toml", {}) == {}
    assert catalog.parse("# nothing yet\n[targets]\n", "a.toml", {}) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[targets", "a.toml is not valid TOML"),
        ("[targets.x]\n[targets.x]\n", "a.toml is not valid TOML: Cannot declare"),
        (f"x = 1{'0' * 5000}\n", "a.toml is not valid TOML: Exceeds the limit"),
        (f"x = {'[' * 5000}\n", "a.toml is nested too deeply"),
        ("[[targets]]\n", "a.toml: targets is [{}]; expected a table"),
        (f"targets = '{'x' * 99}'\n", f"targets is '{'x' * 59}…; expected a table"),
        ('[targets.x]\nextends = "x"\n', "targets.x.extends is 'x', which is not a target"),
        ('[targets.x]\nextends = ["x"]\n', "targets.x.extends is ['x']; expected a non-empty line"),
        (
            '[targets.x]\nbackend = "b"\ntitle = "a\\nb"\n',
            "targets.x.title is 'a\\nb'; expected a non-empty line",
        ),
        (
            '[targets.x]\nbackend = "b"\ntitle = "X"\noptions.a = 3\n',
            "targets.x.options.a is 3; expected a non-empty line",
        ),
        (
            "".join(f'[targets.t{i}]\nextends = "t{i + 1}"\n' for i in range(2000)),
            "targets.t0 extends more than 50 others in a row",
        ),
        ("[target.x]\n", "a.toml: target is unknown; allowed are targets. Did you mean targets?"),
        ("targets = 3\n", "a.toml: targets is 3; expected a table"),
        ('[targets.x]\ntitle = "X"\n', "a.toml: targets.x has no backend"),
        ('[targets.x]\nbackend = "b"\n', "a.toml: targets.x has no title"),
        (
            '[targets.x]\nbackend = 5\ntitle = "X"\n',
            "targets.x.backend is 5; expected a non-empty line",
        ),
        ('[targets.x]\nbakend = "b"\n', "targets.x.bakend is unknown; allowed are backend, title"),
        ('[targets.X]\nbackend = "b"\ntitle = "X"\n', "targets.X is not a name"),
        ('[targets.x]\nextends = "y"\n', "targets.x.extends is 'y', which is not a target"),
        (
            '[targets.x]\nextends = "y"\n[targets.y]\nextends = "x"\n',
            "extends itself: x -> y -> x",
        ),
    ],
)
def test_mistakes_in_a_target(text: str, words: str) -> None:
    with pytest.raises(CatalogError) as caught:
        catalog.parse(text, "a.toml", {})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        ("clock_hz = 5", "targets.x.facts.clock_hz is 5; expected a table"),
        ('clock_hz = { value = 5, unit = "Hz" }', "facts.clock_hz has no source"),
        ('clock_hz = { value = 5, unit = "MHz", source = "s" }', "is 'MHz'; the unit of clock_hz"),
        ('clock_hz = { value = "5", unit = "Hz", source = "s" }', "value is '5'; expected a"),
        ('clock_hz = { value = 0, unit = "Hz", source = "s" }', "value is 0; expected a"),
        ('clock_hz = { value = -5, unit = "Hz", source = "s" }', "value is -5; expected a"),
        ('clock_hz = { value = 1e400, unit = "Hz", source = "s" }', "above 0 and below 1e+300"),
        (f'clock_hz = {{ value = 1{"0" * 310}, unit = "Hz", source = "s" }}', "0000…; expected"),
        ('clock_hz = { value = 5, source = "s" }', "facts.clock_hz has no unit"),
        ('clock_hz = { value = nan, unit = "Hz", source = "s" }', "value is nan; expected a"),
        ('clock_hz = { value = true, unit = "Hz", source = "s" }', "value is True; expected"),
        ('clock_hz = { value = 5, unit = "Hz", source = " " }', "source is ' '; expected a"),
        ('clock_hz = { value = 5, unit = "Hz", sauce = "s" }', "Did you mean source?"),
        ('clock = { value = 5, unit = "Hz", source = "s" }', "does not end in a unit"),
    ],
)
def test_mistakes_in_a_fact(fact: str, words: str) -> None:
    text = f'[targets.x]\nbackend = "b"\ntitle = "X"\n[targets.x.facts]\n{fact}\n'
    with pytest.raises(CatalogError) as caught:
        catalog.parse(text, "a.toml", {})
    assert words in str(caught.value)


def test_the_longest_unit_counts() -> None:
    text = """
[targets.x]
backend = "b"
title = "X"
facts.input_bytes_per_s = { value = 5, unit = "B/s", source = "s" }
"""
    assert catalog.parse(text, "a.toml", {})["x"].facts["input_bytes_per_s"].unit == "B/s"


def test_every_number_that_qhal_ships_has_a_source() -> None:
    for profile in catalog.builtin().values():
        for key, fact in profile.facts.items():
            assert len(fact.source) > 10, f"{profile.name}.{key}"


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "targets.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(CatalogError, match=r"targets\.toml is not UTF-8 text\."):
        catalog.read(path, {})


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"^Cannot read the catalog .*: Is a directory\.$"):
        catalog.read(tmp_path, {})


def test_what_is_not_a_file_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert catalog.user_file() is None
    path = tmp_path / "targets.toml"
    path.mkdir()
    with pytest.raises(CatalogError, match=r"targets\.toml is not a file"):
        catalog.user_file()
    path.rmdir()
    path.symlink_to("nowhere")
    with pytest.raises(CatalogError, match=r"targets\.toml is not a file"):
        catalog.user_file()
    with pytest.raises(CatalogError, match="is not a file"):
        catalog.user_file(tmp_path)


def test_the_repositorys_own_catalog_is_not_a_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert catalog.user_file() is None
