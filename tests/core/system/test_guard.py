"""Work in a child process: results, errors, crashes, signals."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from qhal.errors import (
    CrashError,
    DataFileError,
    ModelInvalidError,
    OutOfMemoryError,
    QhalError,
    VerificationError,
)
from qhal.progress import SILENT, Advance
from qhal.results.fleet import Outcome
from qhal.system.guard import guarded
from qhal.system.scratch import scratch
from qhal.system.signals import Interrupted
from qhal.system.trail import Kind, doing, trail
from qhal.system.wire import Wire
from tests.paths import ROOT

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="needs POSIX processes")

Way = Callable[[], None]


@pytest.fixture(params=["fork", "spawn"])
def child(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to start a child."""
    forks = request.param == "fork"
    if forks and sys.platform != "linux":
        pytest.skip("only Linux forks")
    monkeypatch.setattr(trail(), "watched", False)
    monkeypatch.setattr("qhal.system.guard.may_fork", lambda: forks)
    monkeypatch.setattr("qhal.system.guard.is_alone", lambda: forks)
    return str(request.param)


def number_of_process(wire: Wire) -> int:
    return os.getpid()


def fail(error: BaseException, wire: Wire) -> None:
    try:
        raise KeyError("the cause")
    except KeyError as cause:
        raise error from cause


def crash(kind: Kind, wire: Wire) -> None:
    with doing(Kind.BACKEND, "something outer ran"), doing(kind, "toy 1.0 ran model.toy"):
        faulthandler.disable()
        ctypes.string_at(0)


def end(number: int, wire: Wire) -> None:
    wire.send("begun")
    with doing(Kind.DATA, "mine:make ran"):
        os.kill(os.getpid(), number)
        time.sleep(60)


def leave(wire: Wire) -> None:
    with doing(Kind.DATA, "mine:make ran"):
        os._exit(0)


def no_memory(wire: Wire) -> None:
    with doing(Kind.MODEL, "onnxruntime ran m.onnx"):
        raise MemoryError


def in_stages(wire: Wire) -> str:
    with wire.progress.stage("count", total=3) as advance:
        advance(1)
        advance(2)
    wire.send({"a": "value"})
    return "done"


def crash_in_a_stage(wire: Wire) -> None:
    with wire.progress.stage("count", total=3) as advance, scratch():
        advance(1)
        faulthandler.disable()
        os.abort()


class Told:
    """A progress that writes down what it is told."""

    def __init__(self) -> None:
        self.words: list[object] = []

    @contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Advance]:
        """Enter a stage."""
        self.words.append((title, total))
        yield self.words.append
        self.words.append("end")


def test_work_is_done_in_another_process(child: str) -> None:
    assert guarded(number_of_process, SILENT) != os.getpid()


def test_work_inside_of_work_starts_no_further_process(child: str) -> None:
    first, second = guarded(nested, SILENT)
    assert first == second


def nested(wire: Wire) -> tuple[int, int]:
    return os.getpid(), guarded(number_of_process, SILENT)


def test_progress_and_values_come_through(child: str) -> None:
    told, values = Told(), list[object]()
    assert guarded(in_stages, told, values.append) == "done"
    assert told.words == [("count", 3), 1, 2, "end"]
    assert values == [{"a": "value"}]


@pytest.mark.parametrize("error", [DataFileError("No file x.", "Look."), OSError(28, "full")])
def test_errors_come_with_their_hint_and_cause(child: str, error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        guarded(partial(fail, error), SILENT)
    assert caught.value.args == error.args
    assert isinstance(caught.value.__cause__, KeyError)
    assert "in fail" in str(caught.value.__cause__.__cause__)
    if isinstance(error, QhalError):
        assert isinstance(caught.value, QhalError)
        assert caught.value.hint == error.hint


class OddError(QhalError):
    """An error whose constructor takes other arguments than those that it passes on."""

    def __init__(self, node: str, why: str) -> None:
        super().__init__(f"{node} is {why}.", "Look.")


class SwollenError(ValueError):
    """An error whose constructor would change its words a second time."""

    def __init__(self, node: str) -> None:
        super().__init__(f"{node} is odd")


def unknown_error() -> QhalError:
    """Make an error of a class that no other process can import."""

    class HiddenError(DataFileError):
        """An error."""

    return HiddenError("conv1 is odd.", "Look.")


def send_outcome(make: Callable[[], QhalError], wire: Wire) -> Outcome:
    error = make()
    error.__cause__ = SwollenError("conv1")
    error.__cause__.__cause__ = KeyError("first")
    wire.send(Outcome("mine", error=error))
    return Outcome("mine", error=error)


@pytest.mark.parametrize(
    ("make", "kind"),
    [(partial(OddError, "conv1", "odd"), OddError), (unknown_error, DataFileError)],
)
def test_errors_inside_of_values_arrive_whole(
    child: str, make: Callable[[], QhalError], kind: type[QhalError]
) -> None:
    values: list[Outcome] = []
    values.append(guarded(partial(send_outcome, make), SILENT, values.append))
    assert len(values) == 2
    for error in (value.error for value in values):
        assert type(error) is kind
        assert str(error) == "conv1 is odd. Look."
        assert type(error.__cause__) is SwollenError
        assert str(error.__cause__) == "conv1 is odd"
        assert type(error.__cause__.__cause__) is KeyError
        assert "SwollenError" in str(error.__cause__.__cause__.__cause__)


def test_an_odd_error_is_raised_as_it_was(child: str) -> None:
    with pytest.raises(OddError, match="conv1 is odd"):
        guarded(partial(fail, OddError("conv1", "odd")), SILENT)


@pytest.mark.parametrize(
    ("kind", "error", "code"),
    [
        (Kind.ARTIFACT, VerificationError, 1),
        (Kind.MODEL, ModelInvalidError, 2),
        (Kind.DATA, DataFileError, 2),
        (Kind.BACKEND, CrashError, 1),
    ],
)
def test_a_crash_tells_what_was_running(
    child: str, kind: Kind, error: type[QhalError], code: int
) -> None:
    with pytest.raises(error, match=r"SIGSEGV.* while toy 1\.0 ran model\.toy\.") as caught:
        guarded(partial(crash, kind), SILENT)
    assert caught.value.exit_code == code


def test_a_post_mortem_finds_the_step(child: str) -> None:
    with pytest.raises(
        ModelInvalidError, match=r"It crashed again while toy 1\.0 ran model\.toy\."
    ):
        guarded(partial(crash, Kind.MODEL), SILENT, post_mortem=partial(crash, Kind.MODEL))


def test_an_exit_without_a_last_word_is_no_success(child: str) -> None:
    with pytest.raises(DataFileError, match=r"exit code 0\) while mine:make ran"):
        guarded(leave, SILENT)


def test_a_kill_speaks_of_memory_and_keeps_what_was_sent(child: str) -> None:
    values: list[object] = []
    with pytest.raises(CrashError, match=r"SIGKILL.* while mine:make ran.*memory"):
        guarded(partial(end, signal.SIGKILL), SILENT, values.append)
    assert values == ["begun"]


def test_too_little_memory_is_said(child: str) -> None:
    with pytest.raises(
        OutOfMemoryError, match=r"not enough memory; meanwhile, onnxruntime ran m\.onnx"
    ):
        guarded(no_memory, SILENT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_child_that_is_told_to_end_is_an_interruption(child: str, number: int) -> None:
    with pytest.raises(Interrupted) as caught:
        guarded(partial(end, number), SILENT)
    assert caught.value.number == number


def test_a_crash_ends_stages_and_leaves_no_folder(
    child: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    told = Told()
    with pytest.raises(CrashError, match="SIGABRT"):
        guarded(crash_in_a_stage, told)
    assert told.words == [("count", 3), 1, "end"]
    assert list(tmp_path.iterdir()) == []


def test_what_no_new_process_can_load_is_done_in_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trail(), "watched", False)
    monkeypatch.setattr("qhal.system.guard.may_fork", lambda: False)
    assert guarded(lambda wire: os.getpid(), SILENT) == os.getpid()


def test_what_depends_on_the_process_is_not_done_in_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trail(), "watched", False)
    monkeypatch.setattr("qhal.system.guard.may_fork", lambda: False)
    assert guarded(number_of_process, SILENT, by_value=False) == os.getpid()
    assert guarded(number_of_process, SILENT, by_value=True) != os.getpid()


# --- what is left behind ------------------------------------------------------------


def leave_thread(wire: Wire) -> str:
    threading.Thread(target=threading.Event().wait).start()
    return "done"


def test_nobody_waits_for_threads_that_are_left(child: str) -> None:
    assert guarded(leave_thread, SILENT) == "done"


def killed_alone(number: int, wire: Wire) -> None:
    with doing(Kind.MODEL, "node 'n' (Conv) ran alone"):
        os.kill(os.getpid(), number)
        time.sleep(60)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_post_mortem_that_is_killed_blames_no_node(child: str, number: int) -> None:
    with pytest.raises(ModelInvalidError) as caught:
        guarded(partial(crash, Kind.MODEL), SILENT, post_mortem=partial(killed_alone, number))
    assert "node" not in caught.value.message


def crash_among_many(wire: Wire) -> None:
    def wait() -> None:
        with doing(Kind.BACKEND, LONG):
            entered.release()
            threading.Event().wait()

    entered = threading.Semaphore(0)
    for _ in range(10):
        threading.Thread(target=wait, daemon=True).start()
        entered.acquire()
    crash_saying(LONG[1:], wire)


def crash_saying(words: str, wire: Wire) -> None:
    with doing(Kind.MODEL, words):
        faulthandler.disable()
        os.abort()


LONG = "\u6a21\u578b" * 200


def test_long_names_lose_no_blame(child: str) -> None:
    with pytest.raises(ModelInvalidError, match=f"SIGABRT.* while {LONG} and {LONG[1:]}"):
        guarded(crash_among_many, SILENT)


@pytest.mark.parametrize("name", ["mod\u00e8le", "\udcff.onnx", '"\n\0'])
def test_any_name_is_told(child: str, name: str) -> None:
    with pytest.raises(ModelInvalidError) as caught:
        guarded(partial(crash_saying, f"{name} ran"), SILENT)
    assert f"while {name} ran" in caught.value.message


# --- a parent that ends -------------------------------------------------------------

_PARENT = """
import os, sys, time
from pathlib import Path
from qhal.progress import SILENT
from qhal.system.guard import guarded

def work(wire):
    Path("child").write_text(f"{os.getpid()}.")
    time.sleep(600)

guarded(work, SILENT)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_child_ends_with_its_parent(tmp_path: Path, number: int) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    note = tmp_path / "child"
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], cwd=tmp_path, env=environment, stderr=subprocess.PIPE
    ) as process:
        try:
            while not (note.exists() and note.read_text().endswith(".")):
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(number)
            process.wait(30)
        finally:
            process.kill()
    child, deadline = int(note.read_text()[:-1]), time.monotonic() + 30
    while _is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_rest_of_the_project_is_found(child: str) -> None:
    """A new process finds modules where this one does."""
    assert guarded(find_root, SILENT) == str(ROOT)


def find_root(wire: Wire) -> str:
    from tests.paths import ROOT as THERE

    return str(THERE)
