"""Cases follow from family, seed and number, and start from what is valid."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest
from fuzz import damage, data_cases, file_cases, models, onnx_cases, rewires
from fuzz.case import Base, Maker, random_of

from tests.paths import ROOT

NOTHING = Base(Path("m.onnx"), Path("d.npz"), {}, Path("cache"))


def files(make: Maker, folder: Path, number: int) -> tuple[object, dict[str, bytes]]:
    folder.mkdir()
    case = make(random_of("any", 3, number), folder, NOTHING)
    paths = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    return case, {str(p.relative_to(folder)): content(p) for p in paths}


def content(path: Path) -> bytes:
    """An archive holds the time at which it was written."""
    return b"" if path.suffix == ".npz" else path.read_bytes()


@pytest.mark.parametrize(
    "make", [onnx_cases.make, rewires.make, data_cases.make, file_cases.targets]
)
def test_a_case_can_be_made_again(make: Maker, tmp_path: Path) -> None:
    for number in range(5):
        first = files(make, tmp_path / f"a{number}", number)
        assert first == files(make, tmp_path / f"b{number}", number)
        assert first != files(make, tmp_path / f"c{number}", number + 1)


def test_grown_models_are_valid() -> None:
    for number in range(60):
        random = random_of("grown", 0, number)
        onnx.checker.check_model(models.grown(random, 6), full_check=True)


def test_text_without_odd_parts_is_what_it_was() -> None:
    given = tomllib.loads(file_cases.CATALOG)
    text = "".join(f"{damage.toml_key(k)} = {damage.toml_value(v)}\n" for k, v in given.items())
    assert tomllib.loads(text) == given


def test_damaged_bytes_differ() -> None:
    random, data = np.random.default_rng(0), bytes(range(200)) * 3
    assert all(damage.bytes_of(random, data) != data for _ in range(50))


@pytest.mark.skipif(sys.platform != "linux", reason="the harness needs Linux")
def test_a_round_tells_what_it_ran() -> None:
    command = [sys.executable, "-m", "fuzz", "targets", "--case", "0", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    (found,) = json.loads(done.stdout)
    assert (found["family"], found["cases"], found["harness"]) == ("targets", 1, [])
    assert sum(found["exit_codes"].values()) >= 3
