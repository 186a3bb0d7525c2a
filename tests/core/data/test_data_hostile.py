"""Files and functions that nobody should write, and that somebody does."""

from __future__ import annotations

import contextlib
import inspect
import os
import struct
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from qhal.data import load_dataset
from qhal.data.function import MOST_YIELDED
from qhal.errors import DataFileError, DataShapeError, LabelError, PreprocessError, QhalError
from qhal.ir.graph import TensorType
from tests.paths import PATH

ONE = {"x": TensorType((1, 2))}
VALUES = np.arange(6, dtype=np.float32).reshape(3, 2)


def npy(header: str, content: bytes = bytes(24), version: int = 1) -> bytes:
    """An array file with any header."""
    text = header.encode("latin1") + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes((version, 0)) + size + text + content


def header(shape: str, dtype: str = "<f4", order: str = "False") -> str:
    return f"{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}, }}"


HEADERS = {
    "bool shape": header("(True, 2)"),
    "negative shape": header("(-1, 2)"),
    "float shape": header("(3.0, 2)"),
    "more than there is": header("(100, 2)"),
    "absurdly more": header(f"({10**30}, 2)"),
    "many samples of nothing": header(f"({10**15}, 0)"),
    "one huge sample": header(f"(1, {10**12})"),
    "objects": header("(3,)", "|O"),
    "texts": header("(3,)", "<U2"),
    "complex numbers": header("(3,)", "<c8"),
    "records": "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,), }",
    "nested dtype": "{'descr': " + "(" * 60 + ")" * 60 + ", 'fortran_order': False, 'shape': (6,)}",
    "deep": "(" * 5000,
    "deeper": "[" * 60000,
    "no dictionary": "1",
    "call": "__import__('os').getcwd()",
    "odd indentation": "   {\n 'descr'",
    "open string": "{'descr': '''",
    "NUL": "{'descr': '\0<f4'}",
    "huge": " " * 60000,
}


@pytest.mark.parametrize("where", ["file", "folder", "member", "member in folder", "labels"])
@pytest.mark.parametrize("name", HEADERS)
def test_npy_headers(tmp_path: Path, name: str, where: str) -> None:
    (tmp_path / "folder").mkdir()
    content, labels, source = npy(HEADERS[name]), None, tmp_path / "folder" / "d.npy"
    if "member" in where:
        source = source.with_suffix(".npz")
        with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", content)
    else:
        source.write_bytes(content)
    if where == "labels":
        labels = str(source)
        source = tmp_path / "good.npy"
        np.save(source, VALUES)
    if "folder" in where:
        source = source.parent
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((DataFileError, DataShapeError, LabelError)):
            load_dataset(source, ONE, labels=labels)


def test_headers_of_python_2_and_of_version_2_are_read(tmp_path: Path) -> None:
    for name, content in (
        ("python2", npy(header("(3L, 2L)"), VALUES.tobytes())),
        ("version2", npy(header("(3, 2)"), VALUES.tobytes(), version=2)),
    ):
        (tmp_path / f"{name}.npy").write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            data = load_dataset(tmp_path / f"{name}.npy", ONE)
        assert np.array_equal(data.sample(2)["x"], VALUES[2:])


def test_arrays_stored_by_columns_are_read_from_a_folder(tmp_path: Path) -> None:
    grid = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.save(tmp_path / "a.npy", np.asfortranarray(grid))
    data = load_dataset(tmp_path, {"x": TensorType((2, 3))})
    assert np.array_equal(data.sample(0)["x"], grid)


def archive(path: Path, *members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as file:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in members:
            file.writestr(name, content)
    return path


def saved(array: np.ndarray) -> bytes:
    file = BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("where", ["file", "folder"])
@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ([("x.npy", saved(VALUES)), ("x.npy", saved(VALUES))], "is there twice"),
        ([("x.npy", saved(VALUES)), ("folder/", b"")], "is not an array"),
        ([("x.npy", saved(VALUES)), ("virus.exe", b"MZ")], "is not an array"),
        ([("x.npy", b"")], "not a readable .npy array"),
        ([], "There is no array|no array"),
    ],
)
def test_odd_members(
    tmp_path: Path, members: list[tuple[str, bytes]], complaint: str, where: str
) -> None:
    path = archive(tmp_path / "d.npz", *members)
    with pytest.raises(QhalError, match=complaint):
        load_dataset(path if where == "file" else tmp_path, ONE)


@pytest.mark.parametrize("where", ["file", "folder"])
def test_an_encrypted_member(tmp_path: Path, where: str) -> None:
    content = bytearray(archive(tmp_path / "d.npz", ("x.npy", saved(VALUES))).read_bytes())
    central = content.index(b"PK\x01\x02")
    content[6] |= 1
    content[central + 8] |= 1
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(DataFileError, match="is encrypted"):
        load_dataset(tmp_path / "d.npz" if where == "file" else tmp_path, ONE)


def test_names_that_look_like_paths_stay_names(tmp_path: Path) -> None:
    path = archive(tmp_path / "d.npz", ("../../x.npy", saved(VALUES)))
    assert len(load_dataset(path, ONE)) == 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["d.npz"]


def test_what_unpacks_to_more_than_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = saved(np.zeros((1000, 2), np.float32))
    path = archive(tmp_path / "d.npz", ("x.npy", bomb), compression=zipfile.ZIP_DEFLATED)
    assert len(load_dataset(path, ONE)) == 1000
    monkeypatch.setattr("qhal.data.arrayfile.temporary_room", lambda: 1000)
    with pytest.raises(DataFileError, match="unpacks to 8,128 bytes"):
        load_dataset(path, ONE)


@pytest.mark.parametrize("cut", [1, 5, 9, 40, 130, 160, 200])
def test_truncated_files(tmp_path: Path, cut: int) -> None:
    whole = archive(tmp_path / "d.npz", ("x.npy", saved(VALUES))).read_bytes()
    (tmp_path / "d.npz").write_bytes(whole[:-cut])
    for source in (tmp_path / "d.npz", tmp_path):
        with pytest.raises(DataFileError):
            load_dataset(source, ONE)


def test_no_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(DataFileError, match="TMPDIR"):
        load_dataset(lambda: iter(VALUES), ONE)


# --- what is no file --------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
def test_what_may_never_end_is_not_read(tmp_path: Path, kind: str) -> None:
    path, words = tmp_path / "d.npy", {"pipe": "a named pipe", "device": "a device"}.get(kind)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        import socket

        words = "a socket"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    with pytest.raises(DataFileError, match=f"it is {words}, not a file"):
        load_dataset(path, ONE)
    with pytest.raises(DataFileError, match="no sample"):
        load_dataset(tmp_path, ONE)
    with pytest.raises(LabelError, match="has no such array"):
        load_dataset(lambda: VALUES, ONE, labels=str(path))
    toml = path.rename(tmp_path / "p.toml")
    with pytest.raises(PreprocessError, match=f"it is {words}, not a file"):
        load_dataset(lambda: VALUES, ONE, preprocess=toml)


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    for name in ("a" * 300, "a\0b"):
        with pytest.raises(DataFileError):
            load_dataset(name, ONE)
        with pytest.raises(LabelError):
            load_dataset(lambda: VALUES, ONE, labels=name)
        with pytest.raises(PreprocessError):
            load_dataset(lambda: VALUES, ONE, preprocess=f"{name}.toml")


# --- functions --------------------------------------------------------------------


class Odd(BaseException):
    """What no handler of exceptions catches."""


class MuteError(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise ValueError


def _raising(error: BaseException) -> Callable[[], NoReturn]:
    def function() -> NoReturn:
        raise error

    return function


class Lazy:
    """A sequence whose items fail when they are fetched."""

    def __init__(self, error: BaseException, length: object = 3) -> None:
        self.error, self.length = error, length

    def __len__(self) -> int:
        return self.length  # type: ignore[return-value]

    def __getitem__(self, index: int) -> NoReturn:
        raise self.error


ERRORS = [SystemExit(0), SystemExit(None), GeneratorExit(), Odd("odd"), MuteError()]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_whatever_a_function_raises_is_its_error(error: BaseException) -> None:
    def generator() -> Iterator[np.ndarray]:
        yield VALUES[0]
        raise error

    for function in (_raising(error), generator, lambda: Lazy(error)):
        with pytest.raises(DataFileError, match=f"fails: .*{type(error).__name__}"):
            load_dataset(function, ONE)


def test_an_interruption_is_none_of_its_errors() -> None:
    with pytest.raises(KeyboardInterrupt):
        load_dataset(_raising(KeyboardInterrupt()), ONE)


@pytest.mark.parametrize("length", [-1, 1.5, 10**30, 10**12, None])
def test_absurd_lengths(length: object) -> None:
    with pytest.raises(DataFileError):
        load_dataset(lambda: Lazy(ValueError(), length), ONE)


@pytest.mark.parametrize("label", [10**30, -1, 2**63, 2**31, np.uint64(2**64 - 1), 1.5, "a"])
def test_absurd_labels(label: object) -> None:
    with pytest.raises(LabelError):
        load_dataset(lambda: [(VALUES[0], label)], ONE)
    with pytest.raises((LabelError, DataShapeError)):
        load_dataset(lambda: {"x": VALUES, "y": np.array([0, 1, label])}, ONE)


def test_absurd_label_offsets() -> None:
    def labeled() -> list[tuple[np.ndarray, int]]:
        return [(VALUES[0], 1)]

    for offset in (10**30, -(10**30), 2**63):
        with pytest.raises(LabelError, match="label-offset"):
            load_dataset(labeled, ONE, label_offset=offset)


def test_a_generator_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> Iterator[np.ndarray]:
        while True:
            yield VALUES[0]

    monkeypatch.setattr("qhal.data.function.temporary_room", lambda: 100_000)
    with pytest.raises(DataFileError, match="does it end"):
        load_dataset(endless, ONE)
    monkeypatch.undo()
    monkeypatch.setattr("qhal.data.function.MOST_YIELDED", 100)
    with pytest.raises(DataFileError, match="more than 100 samples"):
        load_dataset(endless, ONE)
    assert MOST_YIELDED > 50_000  # what usual evaluation sets have


def test_objects_that_fail_when_they_are_looked_at() -> None:
    class Hostile:
        def __getattr__(self, name: str) -> NoReturn:
            raise RuntimeError(name)

        def __array__(self, *args: object, **kwargs: object) -> NoReturn:
            raise RuntimeError("no array")

    hostile: tuple[object, ...] = (Hostile(), [Hostile()], {"x": Hostile()})
    for made in hostile:
        with pytest.raises((DataFileError, DataShapeError)):
            load_dataset(partial(next, iter([made])), ONE)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Write a module into the working folder."""
    monkeypatch.chdir(tmp_path)
    known = set(sys.modules)

    def write(text: str) -> str:
        (tmp_path / "guest_module.py").write_text(f"import numpy as np\n{text}")
        return "guest_module:make"

    yield write
    for name in set(sys.modules) - known:
        if name.startswith("guest_"):
            del sys.modules[name]


SAMPLES = "np.ones((3, 2), 'f4')"


@pytest.mark.parametrize(
    "text",
    [
        f"def make():\n    import guest_helper\n    return {SAMPLES}",
        f"def make():\n    yield from {SAMPLES}\n    import guest_helper",
        "class make:\n    def __len__(self): return 3\n"
        "    def __getitem__(self, i):\n        import guest_helper\n"
        "        return np.ones(2, 'f4')",
    ],
)
def test_a_neighbor_is_imported_when_it_is_needed(
    tmp_path: Path, module: Callable[[str], str], text: str
) -> None:
    (tmp_path / "guest_helper.py").touch()
    before = list(sys.path)
    assert load_dataset(module(text), ONE).sample(1)["x"].tolist() == [[1, 1]]
    assert sys.path == before


def test_what_a_function_prints_is_no_result(
    module: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    load_dataset(
        module(f"print('imported')\ndef make():\n    print('made')\n    return {SAMPLES}"), ONE
    )
    assert capsys.readouterr() == ("", "imported\nmade\n")


def test_a_function_that_changes_the_folder(tmp_path: Path, module: Callable[[str], str]) -> None:
    """It stays there when its items are fetched, and nobody else does."""
    (tmp_path / "elsewhere").mkdir()
    np.save(tmp_path / "elsewhere" / "one.npy", VALUES[1])
    text = (
        "import os\nclass make:\n    def __init__(self): os.chdir('elsewhere')\n"
        "    def __len__(self): return 3\n"
        "    def __getitem__(self, i): return np.load('one.npy')"
    )
    data = load_dataset(module(text), ONE)
    assert Path.cwd() == tmp_path
    assert np.array_equal(data.sample(2)["x"], VALUES[1:2])
    assert Path.cwd() == tmp_path


def test_settings_of_a_function_end_with_it() -> None:
    def strict() -> np.ndarray:
        np.seterr(all="raise")
        warnings.simplefilter("error")
        return VALUES

    before = np.geterr(), list(warnings.filters)
    load_dataset(strict, ONE)
    assert (np.geterr(), list(warnings.filters)) == before


def test_a_function_that_closes_what_it_prints_to(module: Callable[[str], str]) -> None:
    text = f"import sys\ndef make():\n    sys.stdout = None\n    return {SAMPLES}"
    before = sys.stdout
    load_dataset(module(text), ONE)
    assert sys.stdout is before
    with contextlib.suppress(ValueError):
        sys.stdout.write("")


# --- what a function does to the process --------------------------------------------

TWICE = "a = np.arange(6, dtype='f4').reshape(3, 2)\nimport os, sys, time\n"
FORKS = {
    "a function that returns": "def make():\n    os.fork()\n    return a",
    "one whose copy fails": "def make():\n    if os.fork() == 0: raise ValueError\n    return a",
    "one whose copy exits": "def make():\n    if os.fork() == 0: sys.exit(3)\n    return a",
    "a generator": "def make():\n    yield a[0]\n    os.fork()\n    yield from a[1:]",
    "one whose copy stops": "def make():\n    yield a[0]\n    if os.fork() == 0: return\n"
    "    time.sleep(0.2)\n    yield from a[1:]",
    "a sequence": "class make:\n    def __len__(self): return 3\n"
    "    def __getitem__(self, i):\n        os.fork()\n        return a[i]",
    "a module": "os.fork()\ndef make(): return a",
}


def samples_and_process(source: str, counted: Path) -> list[list[float]]:
    """Load data and list the samples; every process that comes so far adds a line to a file."""
    data = load_dataset(source, ONE)
    found = [data.sample(i)["x"][0].tolist() for i in range(len(data))]
    with counted.open("a") as file:
        file.write("x\n")
    return found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only POSIX forks")
@pytest.mark.parametrize("text", FORKS.values(), ids=FORKS)
def test_a_function_that_forks_comes_back_once(
    tmp_path: Path, module: Callable[[str], str], text: str
) -> None:
    source, counted = module(TWICE + text), tmp_path / "counted"
    child = os.fork()
    if not child:
        code = 1
        try:
            os.setpgid(0, 0)
            found = samples_and_process(source, counted)
            code = int(found != [[0, 1], [2, 3], [4, 5]])
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with contextlib.suppress(ProcessLookupError):  # copies that live on
        for _ in range(50):
            os.killpg(child, 0)
            time.sleep(0.02)
    assert counted.read_text() == "x\n"


EXITS = """
import atexit, os
import numpy as np
from qhal.data import load_dataset
from qhal.ir.graph import TensorType

def function():
    atexit.register(os._exit, 7)
    return np.ones((3, 2), "f4")

load_dataset(function, {"x": TensorType((1, 2))})
"""


def test_an_exit_handler_that_ends_the_process() -> None:
    environment = {**os.environ, "PYTHONPATH": PATH}
    done = subprocess.run(
        [sys.executable, "-c", EXITS], env=environment, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (7, b"")


def test_a_limit_of_recursion_ends_with_the_function() -> None:
    def shallow(frames: int) -> np.ndarray:
        sys.setrecursionlimit(len(inspect.stack(0)) + frames)
        return VALUES

    before = sys.getrecursionlimit()
    for frames in (8, 12, 16, 24, 40):
        try:
            with contextlib.suppress(DataFileError):
                load_dataset(partial(shallow, frames), ONE)
            assert sys.getrecursionlimit() == before
        finally:
            sys.setrecursionlimit(before)
