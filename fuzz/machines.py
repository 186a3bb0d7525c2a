"""The family ``machines``: good input on a machine that lacks something."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from fuzz.case import Base, Random, Step, often, pick, random_of
from fuzz.command import Surroundings, run
from fuzz.judge import before, is_whole, judge
from fuzz.server import Found, Result, measure_shortly, prepared, removed, surroundings

_NOBODY = 65534
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_SILENT = "fails without a word"
_UNSAID = "output in spite of failure"


@dataclass(frozen=True)
class Lack:
    """What a machine lacks.

    Attributes:
        what: in words.
        before: called in the command's process.
        env: environment variables.
        out: the output folder; empty if it cannot be looked at afterwards.
        argv_out: how the command names it.
        mute: the command cannot report an error here.
    """

    what: str
    before: Callable[[], None]
    env: Mapping[str, str] = field(default_factory=dict)
    out: str = "o"
    argv_out: str = "o"
    mute: bool = False


@dataclass(frozen=True)
class Machines:
    """Deployments of good input on machines that lack something.

    Attributes:
        seed: of what they lack.
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
    name: str = "machines"

    def run(self, number: int) -> Result:
        """Deploy on one such machine."""
        folder = prepared(self.work / f"machines-{self.seed}-{number}")
        try:
            return self._run(number, folder)
        finally:
            removed(folder, self.keep)

    def _run(self, number: int, folder: Path) -> Result:
        random, files = random_of(self.name, self.seed, number), folder / "files"
        force = often(random, 0.5)
        if force:
            shutil.copytree(self.base.folders["tflite"], files / "o")
        lack = pick(random, LACKS)(random, folder)
        argv = ("deploy", str(self.base.model), "--data", str(self.base.data))
        target = pick(random, ("cpu", "tflite"))
        wanted = ("--target", target, "--out", lack.argv_out, *(("--force",) if force else ()))
        step = Step((*argv, *wanted), lack.out)
        was = before(files, step)
        where = Surroundings(files, folder, {**surroundings(folder), **lack.env}, self.timeout_s)
        ended = run(step.argv, replace(where, before=partial(_both, lack.before)))
        _open_again(folder)
        faults = judge(step, ended, files, folder / "tmp", was)
        if lack.mute:
            excused = {_SILENT} | ({_UNSAID} if is_whole(files / "o") else set())
            faults = [fault for fault in faults if fault.kind not in excused]
        found = tuple(Found(number, (lack.what,), step.argv, fault, 0) for fault in faults)
        return Result(number, (ended.code,), found, ended.seconds)


def _both(lack: Callable[[], None]) -> None:
    measure_shortly()
    lack()


def _open_again(folder: Path) -> None:
    for path in (folder / "files", folder / "tmp", folder / "home"):
        path.chmod(0o755)


# --- what machines lack ---------------------------------------------------------------


def _disk(random: Random, folder: Path) -> Lack:
    """Limit the size of files: works without privileges, and for all file systems."""
    size = pick(random, (0, 1, 100, 2000, 8000, 20000, 40000, 66000, 100_000))
    return Lack(
        f"files up to {size} bytes", partial(_limit, resource.RLIMIT_FSIZE, size), mute=size < 2000
    )


def _full_disk(random: Random, folder: Path) -> Lack:
    """Mount a file system that is soon full; needs a mount namespace."""
    mounted = folder / "files" / "full"
    mounted.mkdir()
    size = pick(random, (4, 8, 32, 64, 80, 96, 128, 160))
    env = {"TMPDIR": str(mounted)} if often(random, 0.3) else {}
    before = partial(_mount, str(mounted), f"size={size}k")
    return Lack(f"a disk of {size} KiB", before, env, out="", argv_out="full/o")


def _read_only(random: Random, folder: Path) -> Lack:
    """Make a folder read-only, for a user who is not root."""
    name = pick(random, ("files", "files", "tmp", "home"))
    own = [folder, *folder.rglob("*")]
    return Lack(f"{name} is read-only", partial(_as_nobody, own, folder / name))


def _memory(random: Random, folder: Path) -> Lack:
    """Limit the address space to little more than is in use already."""
    more = int(random.integers(1, 900)) << 20
    return Lack(f"{more >> 20} MiB of memory", partial(_limit_memory, more))


def _files(random: Random, folder: Path) -> Lack:
    most = int(random.integers(3, 24))
    return Lack(f"{most} open files", partial(_limit, resource.RLIMIT_NOFILE, most))


def _no_stream(random: Random, folder: Path) -> Lack:
    """Close, fill or break standard output or standard error."""
    number, way = pick(random, (1, 2)), pick(random, ("closed", "full", "broken"))
    return Lack(f"stream {number} is {way}", partial(_spoil_stream, number, way), mute=True)


def _no_folder(random: Random, folder: Path) -> Lack:
    way = pick(random, ("TMPDIR", "HOME", "QHAL_CACHE"))
    gone = pick(random, ("/nonexistent/folder", "", str(folder / "stdout"), "/dev/null"))
    return Lack(f"{way}={gone}", lambda: None, {way: gone})


def _gone(random: Random, folder: Path) -> Lack:
    """Remove the working folder."""
    nowhere = folder / "nowhere"
    nowhere.mkdir()
    return Lack("no working folder", partial(_remove_working_folder, nowhere), out="")


def _limit(what: int, value: int) -> None:
    resource.setrlimit(what, (value, value))


def _limit_memory(more: int) -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + more)


def _mount(path: str, options: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS | (_CLONE_NEWUSER if os.geteuid() else 0)):
        return  # not allowed here: the disk is then as large as it is
    libc.mount(b"none", b"/", None, 1 << 18 | 1 << 14, None)  # private: nobody else sees it
    libc.mount(b"tmpfs", path.encode(), b"tmpfs", 0, options.encode())


def _as_nobody(own: Sequence[Path], closed: Path) -> None:
    if os.geteuid() == 0:
        for path in own:
            os.chown(path, _NOBODY, _NOBODY)
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    closed.chmod(0o555)


def _spoil_stream(number: int, way: str) -> None:
    name = "stdout" if number == 1 else "stderr"
    if way == "closed":
        setattr(sys, name, None)
        os.close(number)
    elif way == "full":
        os.dup2(os.open("/dev/full", os.O_WRONLY), number)
    else:
        read, write = os.pipe()
        os.dup2(write, number)
        os.close(read)
        os.close(write)


def _remove_working_folder(folder: Path) -> None:
    os.chdir(folder)
    folder.rmdir()


LACKS: tuple[Callable[[Random, Path], Lack], ...] = (
    *(_disk, _disk, _full_disk, _full_disk, _read_only, _read_only, _memory, _memory, _memory),
    *(_files, _no_stream, _no_folder, _gone),
)
