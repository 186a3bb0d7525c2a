"""The family ``kills``: a deployment that a signal ends, and the next one after it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from fuzz.case import Base, Random, Step, often, pick, random_of
from fuzz.command import Ended, Surroundings, run
from fuzz.judge import Fault, Tree, before, is_whole, judge, tree
from fuzz.server import Found, Result, measure_shortly, prepared, removed, surroundings

CHANGES = frozenset(
    {
        *("os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.link", "os.symlink", "os.truncate"),
        *("shutil.rmtree", "shutil.move", "tempfile.mkstemp", "tempfile.mkdtemp"),
        "subprocess.Popen",
    }
)
SIGNALS = (signal.SIGKILL,) * 6 + (signal.SIGTERM, signal.SIGINT)
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}
LATE = 14
"""So many of the last changes get every second kill: that is where folders are swapped."""


@dataclass(frozen=True)
class Moment:
    """When a signal comes.

    Attributes:
        force: an older output folder is there, and is to be replaced.
        signal: which one.
        change: before this change of the file system, counted from 0; None for a time.
        share: of the time that the deployment takes.
    """

    force: bool
    signal: signal.Signals
    change: int | None
    share: float

    def __str__(self) -> str:
        when = (
            f"change {self.change}" if self.change is not None else f"{self.share:.0%} of the time"
        )
        return f"{self.signal.name} at {when}{', --force' if self.force else ''}"


@dataclass(frozen=True)
class Kills:
    """Deployments of good input, each ended at another moment.

    Attributes:
        seed: of the moments.
        base: good input.
        work: where the folders of cases are made.
        keep: leave them there.
        timeout_s: for one command.
    """

    seed: int
    base: Base
    work: Path
    keep: bool = False
    timeout_s: float = 30.0
    name: str = "kills"

    def run(self, number: int) -> Result:
        """Kill one deployment, then deploy again."""
        folder = prepared(self.work / f"kills-{self.seed}-{number}")
        try:
            return self._run(number, folder)
        finally:
            removed(folder, self.keep)

    def _run(self, number: int, folder: Path) -> Result:
        random = random_of(self.name, self.seed, number)
        force = often(random, 0.7)
        changes, seconds = self._reference(folder, force)
        moment = _moment(random, force, changes)
        old = self._old(folder, force)
        step = self._step(force)
        was = before(folder / "files", step)
        ended = self._killed(folder, step, moment, seconds)
        faults = list(_after(moment, ended, folder, old))
        again = run(
            self._step(True).argv, replace(_where(folder, self.timeout_s), before=measure_shortly)
        )
        faults += judge(self._step(True), again, folder / "files", folder / "tmp", was)
        found = tuple(Found(number, (str(moment),), step.argv, f, 0) for f in faults)
        return Result(number, (ended.code, again.code), found, ended.seconds + again.seconds)

    def _step(self, force: bool) -> Step:
        argv = ("deploy", str(self.base.model), "--target", "cpu", "--data", str(self.base.data))
        return Step((*argv, "--out", "o", *(("--force",) if force else ())), "o")

    def _old(self, folder: Path, force: bool) -> Tree | None:
        """Make an output folder of another target, if one is to be replaced."""
        out = folder / "files" / "o"
        shutil.rmtree(out, ignore_errors=True)
        if force:
            shutil.copytree(self.base.folders["tflite"], out)
        return tree(out)

    def _reference(self, folder: Path, force: bool) -> tuple[int, float]:
        """Measure how many changes a whole deployment makes, and how long it takes."""
        kept = self.work / f"kills-reference-{int(force)}.json"
        if not kept.is_file():
            self._old(folder, force)
            log = folder / "changes"
            where = replace(_where(folder, self.timeout_s), before=partial(_count, log))
            ended = run(self._step(force).argv, where)
            part = kept.with_suffix(f".{os.getpid()}")
            part.write_text(json.dumps([len(log.read_text().splitlines()), ended.seconds]))
            part.replace(kept)
            shutil.rmtree(folder / "home" / "qhal-cache", ignore_errors=True)
        changes, seconds = json.loads(kept.read_text())
        return int(changes), float(seconds)

    def _killed(self, folder: Path, step: Step, moment: Moment, seconds: float) -> Ended:
        where = _where(folder, self.timeout_s)
        if moment.change is None:
            return run(step.argv, where, kill=(seconds * moment.share, moment.signal))
        stop = partial(_kill_at, moment.change, moment.signal)
        return run(step.argv, replace(where, before=stop))


def _moment(random: Random, force: bool, changes: int) -> Moment:
    number, share = pick(random, SIGNALS), float(random.random())
    if often(random, 0.3):
        return Moment(force, number, None, share)
    first = max(0, changes - LATE) if often(random, 0.5) else 0
    return Moment(force, number, int(random.integers(first, changes)), share)


def _where(folder: Path, timeout_s: float) -> Surroundings:
    return Surroundings(folder / "files", folder, surroundings(folder), timeout_s)


def _after(moment: Moment, ended: Ended, folder: Path, old: Tree | None) -> list[Fault]:
    """List what is wrong right after the signal."""
    out = folder / "files" / "o"
    now, detail = tree(out), str(moment)
    faults = [Fault("child outlives its parent", line[:200]) for line in ended.children]
    if now is None and old is not None:
        faults.append(Fault("old output lost", detail))
    if now is not None and now != old and not is_whole(out):
        faults.append(Fault("half-written output", detail))
    if moment.signal is not signal.SIGKILL and ended.code != 0:
        faults += _manners(moment, ended, folder)
    return faults


def _manners(moment: Moment, ended: Ended, folder: Path) -> list[Fault]:
    """Check that a signal that can be caught leaves nothing behind."""
    name, faults = moment.signal.name, []
    if ended.code != CODES[moment.signal]:
        faults.append(Fault(f"{name}: exit code {ended.code} {ended.signal}", str(moment)))
    left = [*(folder / "tmp").iterdir(), *(folder / "files").glob(".*")]
    return faults + [Fault(f"{name}: something is left", path.name) for path in left]


def _count(log: Path) -> None:
    """Write down every change of the file system that this process makes from here on."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.addaudithook(_on_change(lambda name: os.write(descriptor, f"{name}\n".encode())))


def _kill_at(change: int, number: signal.Signals) -> None:
    """Send this process a signal just before one of its changes of the file system."""
    seen = Counter[str]()

    def count(name: str) -> None:
        seen["changes"] += 1
        if seen["changes"] == change + 1:
            os.kill(os.getpid(), number)

    sys.addaudithook(_on_change(count))


def _on_change(act: Callable[[str], object]) -> Callable[[str, tuple[Any, ...]], None]:
    def hook(event: str, details: tuple[Any, ...]) -> None:
        if event in CHANGES or (event == "open" and _writes(details)):
            act(event)

    return hook


def _writes(details: tuple[Any, ...]) -> bool:
    flags = details[2] if len(details) > 2 else 0
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
