"""The plugin that counts instructions, compiled for the QEMU that is installed."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from qhal.errors import MissingDependencyError
from qhal.system.children import run_tied
from qhal_backends.arm.emulator.folder import INSTALL_QEMU, QEMU, Folder, first_line

SOURCE = Path(__file__).with_name("count.c")
COMPILERS = ("cc", "gcc")
INSTALL_COMPILER = "apt-get install gcc libc6-dev"

_FIRST_API_VERSION = 1
_OTHER_API_VERSION = re.compile(r"only a m\w+ version of (\d+)")
"""How QEMU refuses a plugin of another interface version (plugins/loader.c)."""

_TIMEOUT_S = 60.0


def find_compiler() -> str | None:
    """Find the path of a C compiler; None if there is none."""
    return next(filter(None, map(shutil.which, COMPILERS)), None)


def qemu_version() -> str:
    """Return the version of QEMU, such as ``7.2.22``.

    Raises:
        MissingDependencyError: QEMU is not installed, or does not print its version.
    """
    done = run_tied([QEMU, "--version"], _TIMEOUT_S)
    if done.code is None and shutil.which(QEMU) is None:
        raise MissingDependencyError(f"{QEMU} is not on PATH.", f"Run: {INSTALL_QEMU}")
    found = re.search(r"version (\d+(?:\.\d+)+)", done.out)
    if found is None:
        why = done.failure() if done.code != 0 else f"prints no version: {done.out[:80]!r}"
        raise MissingDependencyError(f"`{QEMU} --version` {why}.", f"Run: {INSTALL_QEMU}")
    return found[1]


def prepare_counter(folder: Folder) -> Path:
    """Compile the plugin for the installed QEMU, unless that was done for this version already.

    Raises:
        MissingDependencyError: there is no compiler, or QEMU does not load the plugin.
    """
    made = folder.counter(qemu_version())
    if made.is_file():
        return made
    unfinished = made.with_suffix(f".{os.getpid()}.so")
    try:
        _compile(unfinished, _FIRST_API_VERSION)
        refusal = _try(folder, unfinished)
        if other := _OTHER_API_VERSION.search(refusal):
            _compile(unfinished, int(other[1]))
            refusal = _try(folder, unfinished)
        if refusal:
            raise MissingDependencyError(
                f"{QEMU} does not load qhal's plugin that counts instructions ({refusal}).",
                "Use a QEMU that is dynamically linked and supports plugins, as in Debian 12.",
            )
        unfinished.replace(made)
    finally:
        unfinished.unlink(missing_ok=True)
    return made


def _compile(made: Path, api_version: int) -> None:
    compiler = find_compiler()
    if compiler is None:
        raise MissingDependencyError("There is no C compiler on PATH.", f"Run: {INSTALL_COMPILER}")
    flags = ["-O2", "-fPIC", "-shared", f"-DPLUGIN_API_VERSION={api_version}"]
    done = run_tied([compiler, *flags, "-o", str(made), str(SOURCE)], _TIMEOUT_S)
    if done.code != 0:
        raise MissingDependencyError(
            f"{compiler} does not compile {SOURCE.name}: it {done.failure(first_line(done.err))}.",
            f"Run: {INSTALL_COMPILER}",
        )


def _try(folder: Folder, plugin: Path) -> str:
    """Say why QEMU does not load the plugin; empty if it does. The guest is the dynamic linker."""
    linker = str(folder.root / "lib" / "ld-linux-aarch64.so.1")
    done = run_tied([QEMU, "-plugin", str(plugin), linker, "--version"], _TIMEOUT_S)
    return "" if done.code == 0 else f"it {done.failure(first_line(done.err))}"
