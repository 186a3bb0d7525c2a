"""Cases of the family ``data``: a good model, and data, labels or preprocessing that are odd."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from fuzz import damage
from fuzz.case import Base, Case, Random, Step, often, pick
from fuzz.functions import FUNCTIONS

DTYPES = ("f4", "f8", "f2", "i1", "u1", "i4", "i8", "u8", ">f4", "?", "c8", "S3", "U2", "M8[s]")
SHAPES: tuple[tuple[int, ...], ...] = (
    *((12, 3, 8, 8), (12, 8, 8, 3), (3, 8, 8), (0, 3, 8, 8), (12, 3, 8, 7), (12,), ()),
    *((12, 192), (1, 3, 8, 8), (12, 3, 0, 8), (12, 1, 3, 8, 8), (1,) * 30),
)
HEADERS = (
    "{'descr': '<f4', 'fortran_order': False, 'shape': (True,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 3, 8, 8), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 0), }",
    "{'descr': '<f4', 'fortran_order': 1, 'shape': (2, 3, 8, 8), }",
    "{'descr': [('a', '<f4'), ('b', '<i4')], 'fortran_order': False, 'shape': (2,), }",
    "{'descr': '<f4', 'shape': (2, 3, 8, 8), }",
    "{'descr': ('<f4', (3, 8, 8)), 'fortran_order': False, 'shape': (2,), }",
    "{'descr': '|V0', 'fortran_order': False, 'shape': (2,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2.0, 3, 8, 8), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': 'x', }",
    "{'descr': 'O', 'fortran_order': False, 'shape': (2,), }",
    "[" * 400,
    "{" + "'a': 1, " * 9000 + "}",
    "__import__('os')",
    "\udcff",
)
PREPROCESS = {
    "scale": 0.00392,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "channel_order": "rgb",
    "layout": "nchw",
    "resize": [8, 8],
    "crop": [8, 8],
    "interpolation": "bilinear",
}
Change = Callable[[Random, Path], tuple[tuple[str, ...], str]]
"""Writes files; returns the options that name them, and what is odd about them."""


def make(random: Random, folder: Path, base: Base) -> Case:
    """Make a small model of images with ten classes, and one oddity."""
    (folder / "m.onnx").write_bytes(classifier().SerializeToString())
    np.save(folder / "good.npy", random.normal(size=(12, 3, 8, 8)).astype(np.float32))
    np.savez(folder / "good.npz", x=np.load(folder / "good.npy"), y=np.arange(12) % 10)
    options, what = pick(random, CHANGES)(random, folder)
    if "--data" not in options:
        options = ("--data", "good.npz", *options)
    target = pick(random, ("cpu", "cpu", "tflite"))
    fixed = ("--target", target, "--no-cache", "--max-drop", "100", "--out", "o")
    argv = ("deploy", "m.onnx", *options, *fixed)
    return Case((Step((*argv, "--json") if often(random, 0.1) else argv, "o"),), (what,))


def classifier() -> onnx.ModelProto:
    """Make a model with three by eight by eight pixels in and ten classes out."""
    random = np.random.default_rng(0)

    def normal(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["a"], ["b"], "pool"),
        helper.make_node("Flatten", ["b"], ["c"], "flat"),
        helper.make_node("Gemm", ["c", "v"], ["y"], "gemm"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])
    weights = [normal("w", 6, 3, 3, 3), normal("v", 6, 10)]
    graph = helper.make_graph(nodes, "classifier", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


# --- arrays -----------------------------------------------------------------------


def _array(random: Random) -> tuple[np.ndarray, str]:
    shape, dtype = pick(random, SHAPES), pick(random, DTYPES)
    if often(random, 0.5):
        shape = SHAPES[0]
    if often(random, 0.5):
        dtype = "f4"
    with np.errstate(all="ignore"):
        array = (random.normal(size=shape) * 3).astype("f8")
        if often(random, 0.2) and array.size:
            array.reshape(-1)[0] = pick(random, (np.nan, np.inf, -np.inf, 1e300, -1e38))
        if dtype == "M8[s]":
            return np.zeros(shape, dtype), f"{dtype} {shape}"
        made: np.ndarray = array.astype(dtype)
    return (np.asfortranarray(made) if often(random, 0.1) else made), f"{dtype} {shape}"


def _npz(random: Random, folder: Path) -> tuple[tuple[str, ...], str]:
    array, what = _array(random)
    names = pick(random, (("x",), ("x", "y"), ("input",), ("x", "x2"), ("y",), ("x", "labels")))
    found = {n: array if n != "y" else _labels(random) for n in names}
    save: Any = np.savez_compressed if often(random, 0.3) else np.savez
    save(folder / "d.npz", **found)
    if often(random, 0.3):
        data = (folder / "d.npz").read_bytes()
        (folder / "d.npz").write_bytes(damage.bytes_of(random, data))
        what += ", damaged"
    labels = ("--labels", pick(random, names)) if often(random, 0.4) else ()
    return ("--data", "d.npz", *labels), f"npz of {names}, {what}"


def _labels(random: Random) -> np.ndarray:
    wanted: list[Any] = [np.arange(12) % 10, np.arange(12.0), np.full(12, -1), np.full(12, 2**62)]
    wanted += [np.zeros((12, 10)), np.zeros((12, 1), int), np.zeros(3, int), np.full(12, np.nan)]
    wanted += [np.array("x"), np.zeros(0, int), np.full(12, 2**63, np.uint64), np.ones(12, bool)]
    found: np.ndarray = wanted[int(random.integers(len(wanted)))]
    return found


def npy(random: Random) -> tuple[bytes, str]:
    """Make a file of one array, whose header or body is odd."""
    if often(random, 0.5):
        text = pick(random, HEADERS)
        body = text.encode("utf-8", "surrogateescape")
        version = pick(random, (b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"))
        width = 2 if version == b"\x01\x00" else 4
        size = len(body) if often(random, 0.7) else pick(random, (0, 5, 65000))
        head = b"\x93NUMPY" + version + (size % (1 << 8 * width)).to_bytes(width, "little")
        return head + body + bytes(2 * 3 * 8 * 8 * 4), f"header {text[:60]}"
    array, what = _array(random)
    stream = io.BytesIO()
    np.save(stream, array[0] if array.ndim == 4 and array.size else array)
    if often(random, 0.5):
        return damage.bytes_of(random, stream.getvalue()), f"damaged npy, {what}"
    return stream.getvalue(), what


def _npy_folder(random: Random, folder: Path) -> tuple[tuple[str, ...], str]:
    (folder / "data").mkdir()
    for i in range(4):
        np.save(folder / "data" / f"{i}.npy", random.normal(size=(3, 8, 8)).astype(np.float32))
    content, what = npy(random)
    (folder / "data" / pick(random, ("0.npy", "9.npy", "2.npy", ".npy", "x.NPY"))).write_bytes(
        content
    )
    return ("--data", "data"), f"folder: {what}"


def _one_npy(random: Random, folder: Path) -> tuple[tuple[str, ...], str]:
    content, what = npy(random)
    (folder / "d.npy").write_bytes(content)
    if often(random, 0.5):
        return ("--labels", "d.npy"), f"labels: {what}"
    return ("--data", "d.npy"), what


def _zip(random: Random, folder: Path) -> tuple[tuple[str, ...], str]:
    names = ("x.npy", "y.npy", "x", "../x.npy", "/x.npy", "dir/", "x.npy", "é.npy", "x.txt", "")
    chosen = [pick(random, names) for _ in range(int(random.integers(1, 4)))]
    kind = pick(random, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, 14))
    with zipfile.ZipFile(folder / "d.npz", "w", kind) as archive:
        for name in chosen:
            archive.writestr(zipfile.ZipInfo(name), npy(random)[0], kind)
    if often(random, 0.3):
        data = (folder / "d.npz").read_bytes()
        (folder / "d.npz").write_bytes(damage.bytes_of(random, data))
    return ("--data", "d.npz"), f"zip members {chosen}, method {kind}"


# --- images and labels ------------------------------------------------------------


def image(random: Random) -> tuple[bytes, str, str]:
    """Make an image file; return it with its suffix and what is odd about it."""
    mode = pick(random, ("RGB", "L", "RGBA", "P", "1", "CMYK", "I;16", "F", "LA", "I"))
    kind = pick(random, ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"))
    size = pick(random, ((8, 8), (1, 1), (300, 2), (9, 7), (1, 5000)))
    stream = io.BytesIO()
    made = Image.new(mode, size)
    try:
        made.save(stream, kind)
    except (OSError, ValueError):
        made.convert("RGB").save(stream, kind)
    content, what = stream.getvalue(), f"{kind} {mode} {size}"
    if often(random, 0.4):
        content, what = damage.bytes_of(random, content), f"damaged {what}"
    return content, pick(random, (kind.lower(), "png", "jpg")), what


def _images(random: Random, folder: Path) -> tuple[tuple[str, ...], str]:
    (folder / "data").mkdir()
    for i in range(4):
        Image.new("RGB", (10, 9), (i, 2 * i, 30)).save(folder / "data" / f"{i}.png")
    content, suffix, what = image(random)
    (folder / "data" / f"3.{suffix}").write_bytes(content)
    options: tuple[str, ...] = ()
    if often(random, 0.6):
        options = ("--preprocess", pick(random, ("unit", "imagenet-torch", "raw", "raw-bgr")))
    if often(random, 0.4):
        (folder / "labels.csv").write_bytes(_csv(random))
        options = (*options, "--labels", "labels.csv")
    return ("--data", "data", *options), what


def _csv(random: Random) -> bytes:
    rows = [f"{i}.png,{i}" for i in range(4)]
    odd = (
        *("9.png,1", "0.png,-1", "0.png,1e3", '"0.png', "0.png", ",", "0.png,1,2", "0.png,٣"),
        *("\0", "0.png," + "9" * 5000, "../0.png,1", "name,label", "a" * 200000 + ",1"),
    )
    for _ in range(int(random.integers(0, 3))):
        rows.insert(int(random.integers(len(rows) + 1)), pick(random, odd))
    text = pick(random, ("\n", "\r\n", "\r", ";")).join(rows)
    return damage.bytes_of(random, text.encode()) if often(random, 0.2) else text.encode()


def _label_file(random: Random, folder: Path) -> tuple[tuple[str, ...], str]:
    (folder / "data").mkdir()
    for i in range(4):
        np.save(folder / "data" / f"{i}.npy", random.normal(size=(3, 8, 8)).astype(np.float32))
    text = _csv(random).replace(b".png", b".npy")
    (folder / "l.csv").write_bytes(text)
    offset = ("--label-offset", str(pick(random, (1, -1, 2**63, -(10**30)))))
    return (
        "--data",
        "data",
        "--labels",
        "l.csv",
        *(offset if often(random, 0.3) else ()),
    ), "labels"


def _strange_paths(random: Random, folder: Path) -> tuple[tuple[str, ...], str]:
    """Put something that is no data file at the path of the data."""
    (folder / "data").mkdir()
    np.save(folder / "data" / "0.npy", np.zeros((3, 8, 8), np.float32))
    odd = folder / pick(random, ("data/1.npy", "d.npz", "data/1.png", "l.csv"))
    way = int(random.integers(6))
    if way == 0:
        os.mkfifo(odd)
    elif way == 1:
        odd.symlink_to(odd.name)
    elif way == 2:
        odd.symlink_to("/dev/zero")
    elif way == 3:
        odd.mkdir()
    elif way == 4:
        odd.symlink_to("nothing")
    else:
        odd.write_bytes(b"")
    named = odd.relative_to(folder)
    if str(named) == "l.csv":
        return ("--data", "data", "--labels", "l.csv"), f"{named}: way {way}"
    return ("--data", "data" if named.parent.name else str(named)), f"{named}: way {way}"


# --- preprocessing, functions, options ----------------------------------------------


def _preprocess(random: Random, folder: Path) -> tuple[tuple[str, ...], str]:
    text = damage.toml_text(random, {**PREPROCESS})
    if often(random, 0.1):
        text = pick(random, ("a=" + "[" * 3000, "a." * 3000 + "b=1", "x = " + "9" * 5000, "\ufeff"))
    content = text.encode("utf-8", "replace")
    (folder / "p.toml").write_bytes(
        damage.bytes_of(random, content) if often(random, 0.1) else content
    )
    data = "good.npz"
    if often(random, 0.5):
        (folder / "data").mkdir()
        for i in range(3):
            Image.new("RGB", (10, 9), (i, 2 * i, 30)).save(folder / "data" / f"{i}.png")
        data = "data"
    return ("--data", data, "--preprocess", "p.toml"), text.replace("\n", "; ")[:200]


def _function(random: Random, folder: Path) -> tuple[tuple[str, ...], str]:
    body = pick(random, FUNCTIONS)
    (folder / "um.py").write_text(f"import sys, os\nimport numpy as np\n\n{body}\n")
    name = pick(random, ("um:f",) * 12 + ("um:nothing", "um:", "um:f.g", "um.x:f", "none:f"))
    return ("--data", name), f"{name}: {body[:160]!r}"


def _options(random: Random, folder: Path) -> tuple[tuple[str, ...], str]:
    found: tuple[str, ...] = pick(
        random,
        (
            ("--calib-samples", pick(random, ("1", "0", "-3", "9" * 30, "x", "1e3", "٣"))),
            ("--eval-samples", pick(random, ("1", "99999999999999999999"))),
            ("--observer", pick(random, ("minmax", "percentile", "none"))),
            ("--eval", pick(random, ("good.npy", "m.onnx", ".", "", "/dev/null", "a" * 300))),
            ("--labels", pick(random, ("y", "x", "", "m.onnx", "good.npy", "a" * 5000, "."))),
            ("--shape", pick(random, ("x=1,3,8,8", "x=0", "x=", "=", "x=9" + "9" * 30, "x=1,3,8"))),
            ("--preprocess", pick(random, ("", ".", "m.onnx", "a" * 300 + ".toml", "unit"))),
            ("--recipe", pick(random, ("w8a16", "", "w9", "fp16"))),
            ("--max-drop", pick(random, ("nan", "-1", "1e400", "x"))),
            ("--threads", pick(random, ("0", "2", "64", "9" * 25))),
            ("--targets", pick(random, ("", ".", "m.onnx", "nothing.toml"))),
            (
                "--data",
                pick(random, ("", ".", "/", "m.onnx", "a" * 300, "a\x1bb", ":", "\udcff.npz")),
            ),
        ),
    )
    return found, " ".join(found)[:80]


CHANGES: tuple[Change, ...] = (
    *(_npz, _npz, _npy_folder, _npy_folder, _one_npy, _zip, _zip, _images, _images, _label_file),
    *(_strange_paths, _preprocess, _preprocess, _function, _function, _function, _options),
)
