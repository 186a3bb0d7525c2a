"""``qhal setup arm-emulator``: make the arm64 root in which artifacts run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from qhal.errors import MissingDependencyError
from qhal.plugin.machine_setup import Setup
from qhal.progress import Advance, Progress
from qhal.system.children import run_tied
from qhal_backends.arm.cortexa_cores import CORES, Core
from qhal_backends.arm.emulator import counter, debian, wheels
from qhal_backends.arm.emulator.emulator import Emulator
from qhal_backends.arm.emulator.folder import (
    INSTALL_QEMU,
    INSTALL_RUNTIME,
    MANIFEST,
    QEMU,
    RUNTIME,
    SCHEMA,
    SETUP,
    Folder,
    find_folder,
    in_words,
    lacks_emulator,
    last_line,
    runtime_version,
)

TITLE = "an arm64 root with LiteRT, in which QEMU runs artifacts for Cortex-A"

_CORES_SHOWN = 4
_TRIAL = "import ai_edge_litert.interpreter, json, numpy, pathlib"
_TRIAL_TIMEOUT_S = 300.0


def arm_emulator() -> Setup:
    """Return the setup, for :meth:`qhal.plugin.backend.Backend.setups`."""
    return Setup(SETUP, TITLE, lacks_emulator, prepare)


def prepare(progress: Progress) -> str:
    """Install all that is missing; see :class:`qhal.plugin.machine_setup.Setup`.

    Raises:
        MissingDependencyError: a program is not installed, or a download fails.
    """
    check_programs()
    folder = find_folder()
    if folder is None:
        raise MissingDependencyError(
            "There is no folder for the emulator.", "Set QHAL_CACHE to a folder."
        )
    with _locked(folder.path), progress.stage(f"set up {SETUP}", total=5) as advance:
        manifest = folder.manifest or _make(folder, advance)
    count = len(manifest["packages"]) + len(manifest["wheels"])
    return (
        f"{SETUP} is ready in {folder.path}: {count} packages and wheels, {QEMU} "
        f"{counter.qemu_version()}, {RUNTIME} {runtime_version()}. {_counting(folder)}"
    )


def _counting(folder: Folder) -> str:
    """Say whether this QEMU can count; if not, outputs can still be compared."""
    try:
        counter.prepare_counter(folder)
    except MissingDependencyError as error:
        return f"Instructions cannot be counted: {error}"
    return "Instructions can be counted."


def check_programs() -> None:
    """Check that all programs are installed before anything is downloaded.

    Raises:
        MissingDependencyError: names all that are not, and the commands that install them.
    """
    lacks = {
        "apt-get": (shutil.which("apt-get") is None, "only Debian and its relatives have it"),
        "dpkg-deb": (shutil.which("dpkg-deb") is None, "only Debian and its relatives have it"),
        str(debian.KEYRING): (
            not debian.KEYRING.is_file(),
            "apt-get install debian-archive-keyring",
        ),
        QEMU: (shutil.which(QEMU) is None, INSTALL_QEMU),
        "a C compiler": (counter.find_compiler() is None, counter.INSTALL_COMPILER),
        RUNTIME: (runtime_version() is None, INSTALL_RUNTIME),
        "pip": (find_spec("pip") is None, "python -m ensurepip"),
    }
    missing = {name: fix for name, (lacking, fix) in lacks.items() if lacking}
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise MissingDependencyError(
            f"{in_words(missing)} {verb} not installed.",
            "\n".join(f"{name}: {fix}" for name, fix in missing.items()),
        )


def _make(folder: Folder, advance: Advance) -> dict[str, Any]:
    """Make everything, the manifest last. Downloads of an interrupted attempt are used again."""
    debian.download(folder.debs, folder.path / "apt")
    advance(1)
    wheels.download(f"{RUNTIME}=={runtime_version()}", folder.wheels)
    advance(1)
    manifest = {
        "schema": SCHEMA,
        "release": debian.RELEASE,
        "packages": [_entry(path) for path in _newest(folder.debs, "_")],
        "wheels": [_entry(path) for path in _newest(folder.wheels, "-")],
    }
    _unpack(folder)
    advance(1)
    for core in CORES.values():
        _try(Emulator(folder, core))
    advance(1)
    _write_atomically(folder.path / MANIFEST, json.dumps(manifest, indent=1))
    for used in (folder.debs, folder.wheels, folder.path / "apt"):
        shutil.rmtree(used, ignore_errors=True)
    advance(1)
    return manifest


def _newest(folder: Path, separator: str) -> list[Path]:
    """Keep one file per package: older versions that an earlier attempt left are removed."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime):
        name = path.name.partition(separator)[0]
        if name in found:
            found[name].unlink()
        found[name] = path
    return sorted(found.values())


def _unpack(folder: Folder) -> None:
    """Make the root, the site and the view of each core on them anew."""
    for made in (folder.root, folder.site, folder.bytecode, folder.path / "cores"):
        shutil.rmtree(made, ignore_errors=True)
    debian.unpack(folder.debs, folder.root)
    wheels.unpack(folder.wheels, folder.site)
    for core in CORES.values():
        show_core(folder, core)


def show_core(folder: Folder, core: Core) -> None:
    """Make a root for one core: the common one, and the files that describe the processor.

    Without an Arm processor in ``/proc/cpuinfo`` LiteRT crashes when it looks for its kernels.
    """
    root = folder.core(core.name)
    for path, text in processor_files(core).items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    for name in ("etc", "lib", "usr"):
        (root / name).symlink_to(Path("..", "..", "root", name))


def processor_files(core: Core) -> dict[str, str]:
    """Write the files that describe four cores of a kind, as Linux does: path -> content."""
    processor = (
        "processor\t: {}\nBogoMIPS\t: 108.00\n"
        f"Features\t: {core.features}\n"
        "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n"
        f"CPU part\t: {core.part:#x}\nCPU revision\t: 3\n\n"
    )
    listed = f"0-{_CORES_SHOWN - 1}\n"
    return {
        "proc/cpuinfo": "".join(processor.format(index) for index in range(_CORES_SHOWN)),
        "sys/devices/system/cpu/possible": listed,
        "sys/devices/system/cpu/present": listed,
    }


def _try(emulator: Emulator) -> None:
    """Import the runtime: this shows that nothing is missing, and compiles the modules."""
    script = emulator.folder.path / "trial.py"
    script.write_text(_TRIAL, encoding="utf-8")
    done = run_tied(
        emulator.command(script),
        _TRIAL_TIMEOUT_S,
        environment=emulator.environment(keep_bytecode=True),
    )
    script.unlink()
    if done.code != 0:
        raise MissingDependencyError(
            f"LiteRT does not load on an emulated {emulator.core.name}: "
            f"the emulator {done.failure(last_line(done.err))}.",
            f"{QEMU} {counter.qemu_version()} may not support this core; try a newer one.",
        )


def _entry(path: Path) -> dict[str, str]:
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _write_atomically(path: Path, text: str) -> None:
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let only one process at a time work on a folder; a second one waits."""
    import fcntl  # absent on Windows, where check_programs has already complained

    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise MissingDependencyError(
            f"The folder {folder} cannot be made: {error.strerror}.",
            "Set QHAL_CACHE to another folder.",
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
