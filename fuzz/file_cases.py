"""Cases of the families ``targets``, ``records`` and ``cache``: files that qhal itself knows."""

from __future__ import annotations

import io
import json
import os
import shutil
import tomllib
import zipfile
from pathlib import Path

import numpy as np

from fuzz import damage
from fuzz.case import Base, Case, Random, Step, often, pick

CATALOG = """
[targets.mine]
backend = "cpu"
title = "My machine"
family = "Mine"
[targets.mine.facts]
peak_ops_per_s = { value = 48e12, unit = "op/s", source = "https://example.org" }
clock_hz = { value = 1e9, unit = "Hz", source = "a page" }
[targets.mine.options]
runs_on = "host"
[targets.other]
extends = "cortex-m7"
title = "My board"
[targets.third]
extends = "other"
"""
NAMES = ("targets", "mine", "other", "third", "cortex-m7", "edgetpu", "")


def targets(random: Random, folder: Path, base: Base) -> Case:
    """Damage a valid ``targets.toml``."""
    content = damage.toml_text(random, tomllib.loads(CATALOG)).encode("utf-8", "replace")
    if often(random, 0.2):
        content = damage.bytes_of(random, CATALOG.encode())
    name = pick(random, ("t.toml", "t.toml", "targets.toml"))
    (folder / name).write_bytes(content)
    given = () if name == "targets.toml" else ("--targets", name)
    target = pick(random, ("mine", "mine", "other", "third"))
    steps = [
        Step(("targets", *given)),
        Step(("targets", target, *given, "--json")),
        Step(("check", str(base.model), "--target", target, *given)),
    ]
    if often(random, 0.2):
        data = ("--data", str(base.data), "--no-cache", "--out", "o")
        steps.append(Step(("deploy", str(base.model), "--target", target, *given, *data), "o"))
    return Case(tuple(steps), (content[:150].decode(errors="replace").replace("\n", "; "),))


def records(random: Random, folder: Path, base: Base) -> Case:
    """Spoil a file of a good output folder."""
    target = pick(random, ("cpu", "openvino-cpu", "tflite"))
    out = folder / "o"
    shutil.copytree(base.folders[target], out)
    what = f"{target}: {_spoil(random, out)}"
    record = json.loads((base.folders[target] / "record.json").read_text(encoding="utf-8"))
    nodes = [str(d.get("subject")) for d in record["decisions"] if d.get("subject")] or ["conv1"]
    steps = [
        Step(("explain", "o", pick(random, nodes))),
        Step(("bench", "o", *(("--json",) if often(random, 0.3) else ()))),
    ]
    if often(random, 0.3):
        argv = ("deploy", str(base.model), "--target", "cpu", "--data", str(base.data))
        steps.append(Step((*argv, "--no-cache", "--out", "o", "--force"), "o"))
    return Case(tuple(steps), (what,))


def _spoil(random: Random, out: Path) -> str:
    path = pick(random, sorted(out.iterdir()))
    if often(random, 0.6):
        path = out / "record.json"
    way = int(random.integers(8))
    if way == 0:
        path.unlink()
    elif way == 1:
        path.unlink()
        _put_odd(random, path)
    elif way == 2:
        path.write_bytes(damage.bytes_of(random, path.read_bytes()))
    elif way == 3:
        path.write_text(
            pick(random, ("[" * 100000, "{}", "[]", "null", "1" * 9000, '"x"', "\ufeff{}"))
        )
    else:
        path = out / "record.json"
        record = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(damage.json_text(random, record), encoding="utf-8", errors="replace")
    return f"{path.name}, way {way}"


def _put_odd(random: Random, path: Path) -> None:
    """Put something that is no file at a path."""
    way = int(random.integers(3))
    if way == 0:
        path.mkdir()
    elif way == 1:
        path.symlink_to(path.name)
    else:
        os.mkfifo(path)


def cache(random: Random, folder: Path, base: Base) -> Case:
    """Change cached statistics of an earlier run: the artifact must stay what it was."""
    kept = folder / "cache"
    shutil.copytree(base.cache, kept)
    paths = sorted(p for p in kept.rglob("*") if p.is_file())
    what = [_tamper(random, path) for path in paths if often(random, 0.8)]
    target = pick(random, ("cpu", "tflite"))
    argv = ("deploy", str(base.model), "--target", target, "--data", str(base.data), "--out", "o")
    step = Step(argv, "o", base.folders[target])
    return Case((step,), tuple(what), {"QHAL_CACHE": str(kept)})


def _tamper(random: Random, path: Path) -> str:
    content = path.read_bytes()
    if path.suffix != ".npz" or often(random, 0.3):
        path.write_bytes(damage.bytes_of(random, content))
        return f"{path.name} damaged"
    arrays = dict(np.load(io.BytesIO(content), allow_pickle=False))
    name = pick(random, sorted(arrays))
    arrays[name] = _odd(random, arrays[name])
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    path.write_bytes(stream.getvalue())
    if often(random, 0.1):
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("more.npy", b"x")
    return f"{name} is {arrays[name].dtype} {arrays[name].shape}"


def _odd(random: Random, stored: np.ndarray) -> np.ndarray:
    array = np.atleast_1d(stored)
    if array.dtype.kind == "U":
        return array[::-1] if often(random, 0.5) else array[:1]
    with np.errstate(all="ignore"):
        choices: list[np.ndarray] = [array[None], array[:1], array * 0, array - 7, array * 3]
        choices += [array.astype(np.float16), array.astype(np.int8), np.zeros(0), array[::-1]]
        return choices[int(random.integers(len(choices)))]
