"""Many cases in forks of one process that has imported everything."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from fuzz.case import Base, Case, Maker, random_of
from fuzz.command import Surroundings, run
from fuzz.judge import Fault, before, judge

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "examples" / "digits"
_STARTS_THREADS = ("openvino", "qhal_backends.openvino")
"""Modules that children import by themselves: they start threads, which do not survive a fork."""

FULL_EVERY = 20
"""Every so many cases are measured with all that belongs to it, which takes seconds."""


@dataclass(frozen=True)
class Found:
    """A case in which something went wrong.

    Attributes:
        number: of the case.
        what: what was done to valid input.
        argv: the command.
        fault: what happened.
        size_bytes: of the case's files.
    """

    number: int
    what: tuple[str, ...]
    argv: tuple[str, ...]
    fault: Fault
    size_bytes: int


@dataclass(frozen=True)
class Result:
    """What became of one case.

    Attributes:
        number: of the case.
        codes: exit code of each command; None for a signal.
        found: what went wrong.
        seconds: that the commands took.
        harness: an exception of the harness itself.
    """

    number: int
    codes: tuple[int | None, ...] = ()
    found: tuple[Found, ...] = ()
    seconds: float = 0.0
    harness: str = ""


class Family(Protocol):
    """Cases that are run by their number, in a fork."""

    @property
    def name(self) -> str:
        """For the command line."""
        ...

    @property
    def work(self) -> Path:
        """Where folders of cases are made."""
        ...

    def run(self, number: int) -> Result:
        """Make and run one case in this process."""
        ...


@dataclass(frozen=True)
class Input:
    """Cases of hostile input: what is needed to run any of them by its number.

    Attributes:
        name: of the family.
        make: writes a case.
        seed: of all cases.
        base: good input.
        work: where the folders of cases are made.
        keep: leave them there.
        timeout_s: for one command.
    """

    name: str
    make: Maker
    seed: int
    base: Base
    work: Path
    keep: bool = False
    timeout_s: float = 30.0

    def run(self, number: int) -> Result:
        """Make and run one case in this process, which should be a fork."""
        folder = prepared(self.work / f"{self.name}-{self.seed}-{number}")
        try:
            random = random_of(self.name, self.seed, number)
            case = self.make(random, folder / "files", self.base)
            return self._steps(number, case, folder)
        finally:
            removed(folder, self.keep)

    def _steps(self, number: int, case: Case, folder: Path) -> Result:
        where = Surroundings(
            folder / "files",
            folder,
            {**surroundings(folder), **case.env},
            self.timeout_s,
            before=None if number % FULL_EVERY == 0 else measure_shortly,
        )
        codes, found, seconds = [], [], 0.0
        size = _size(folder / "files")
        for step in case.steps:
            was = before(folder / "files", step)
            ended = run(step.argv, where)
            faults = judge(step, ended, folder / "files", folder / "tmp", was)
            found += [Found(number, case.what, step.argv, fault, size) for fault in faults]
            codes.append(ended.code)
            seconds += ended.seconds
            _empty(folder / "tmp")
        return Result(number, tuple(codes), tuple(found), seconds)


def prepared(folder: Path) -> Path:
    """Make the empty folder of a case."""
    shutil.rmtree(folder, ignore_errors=True)
    for path in (folder / "files", folder / "tmp", folder / "home"):
        path.mkdir(parents=True)
    return folder


def removed(folder: Path, keep: bool) -> None:
    """Remove the folder of a case, unless it is to be kept."""
    if not keep:
        _remove(folder)


def surroundings(folder: Path) -> dict[str, str]:
    """Make environment variables that keep a command inside its folder."""
    return {
        "TMPDIR": str(folder / "tmp"),
        "HOME": str(folder / "home"),
        "XDG_CACHE_HOME": str(folder / "home" / ".cache"),
        "QHAL_CACHE": str(folder / "home" / "qhal-cache"),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def measure_shortly() -> None:
    """Time what runs for a moment only, and without processes of its own for memory.

    Raises:
        AttributeError: the line calls no ``measure`` that could be replaced.
    """
    from qhal.pipeline import line

    line.measure = partial(line.measure, budget_s=0.02, memory=False)  # type: ignore[attr-defined]


def warmed_up(folder: Path, targets: Sequence[str]) -> Base:
    """Deploy good input once in a child, then import here whatever that imported there."""
    folder.mkdir(parents=True, exist_ok=True)
    modules = folder / "modules.json"
    pid = os.fork()
    if pid == 0:
        _deploy_all(folder, targets, modules)
    _, status = os.waitpid(pid, 0)
    if status or not modules.is_file():
        raise RuntimeError(f"deploying good input fails; see {folder}/log")
    for name in json.loads(modules.read_text()):
        if name.startswith(_STARTS_THREADS):
            continue
        with suppress(Exception):
            importlib.import_module(name)
    outputs = {target: folder / "out" / target for target in targets}
    return Base(DIGITS / "digits.onnx", DIGITS / "calibration.npz", outputs, folder / "cache")


def _deploy_all(folder: Path, targets: Sequence[str], modules: Path) -> None:
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(log, number)
    os.environ.update({"QHAL_CACHE": str(folder / "cache"), "HOME": str(folder)})
    known, code = set(sys.modules), 0
    from qhal.cli.main import main

    model, data = str(DIGITS / "digits.onnx"), str(DIGITS / "calibration.npz")
    for target in targets:
        out = str(folder / "out" / target)
        code |= main(["check", model, "--target", target])
        code |= main(["deploy", model, "--target", target, "--data", data, "--out", out, "--force"])
    modules.write_text(json.dumps([n for n in sys.modules if n not in known]))
    os._exit(code)


def results(family: Family, numbers: Sequence[int], jobs: int) -> Iterator[Result]:
    """Run cases in forks, some at a time; results come as they end."""
    running: dict[int, int] = {}
    waiting = list(reversed(numbers))
    while waiting or running:
        while waiting and len(running) < jobs:
            number = waiting.pop()
            running[_fork(partial(_save, family, number))] = number
        pid, status = os.wait()
        number = running.pop(pid, -1)
        if number >= 0:
            yield _load(family, number, status)


def _fork(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def _path(family: Family, number: int) -> Path:
    return family.work / f"{family.name}-{number}.json"


def _save(family: Family, number: int) -> None:
    try:
        result = family.run(number)
    except Exception:  # noqa: BLE001 - reported separately from faults of qhal
        result = Result(number, harness=traceback.format_exc())
    _path(family, number).write_text(json.dumps(asdict(result)))


def _load(family: Family, number: int, status: int) -> Result:
    path = _path(family, number)
    try:
        read: Mapping[str, object] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        return Result(number, harness=f"wait status {status}: {error}")
    path.unlink()
    return _decoded(read)


def _decoded(read: Mapping[str, object]) -> Result:
    raw: Sequence[Mapping[str, object]] = read["found"]  # type: ignore[assignment]
    found = []
    for entry in raw:
        fault: Mapping[str, str] = entry["fault"]  # type: ignore[assignment]
        found.append(replace(Found(**entry), fault=Fault(**fault)))  # type: ignore[arg-type]
    return replace(Result(**read), found=tuple(found))  # type: ignore[arg-type]


def _size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        _remove(path) if path.is_dir() else path.unlink()


def _remove(folder: Path) -> None:
    for path in [folder, *(p for p in folder.rglob("*") if p.is_dir() and not p.is_symlink())]:
        with suppress(OSError):
            path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
