"""Where the emulator's parts lie, and whether all of them are there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from qhal.host import cache_folder
from qhal.plugin.readiness import Lack

SETUP = "arm-emulator"
"""What ``qhal setup`` calls it."""

QEMU = "qemu-aarch64"
"""User-mode QEMU, dynamically linked: the static one cannot load plugins."""

RUNTIME = "ai-edge-litert"
MANIFEST = "manifest.json"
SCHEMA = 1

INSTALL_QEMU = "apt-get install qemu-user"
INSTALL_RUNTIME = "pip install 'quant-hal[tflite]'"
RUN_SETUP = f"qhal setup {SETUP}"


@dataclass(frozen=True)
class Folder:
    """The emulator's folder for one version of LiteRT.

    Attributes:
        path: of the folder. Its ``manifest.json`` is written last: if it exists, all is complete.
    """

    path: Path

    @property
    def debs(self) -> Path:
        """Downloaded Debian packages."""
        return self.path / "debs"

    @property
    def wheels(self) -> Path:
        """Downloaded wheels."""
        return self.path / "wheels"

    @property
    def root(self) -> Path:
        """Unpacked Debian packages."""
        return self.path / "root"

    @property
    def site(self) -> Path:
        """Unpacked wheels."""
        return self.path / "site"

    @property
    def bytecode(self) -> Path:
        """What the emulated Python has compiled; it cannot write into the root."""
        return self.path / "bytecode"

    def core(self, name: str) -> Path:
        """Return the root as a certain core sees it: it has a /proc/cpuinfo of its own."""
        return self.path / "cores" / name

    def counter(self, qemu_version: str) -> Path:
        """Return the path of the compiled plugin for a version of QEMU."""
        return self.path / f"count-{qemu_version}.so"

    @cached_property
    def manifest(self) -> dict[str, Any] | None:
        """What was installed; None if the setup has not finished."""
        try:
            read = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return read if isinstance(read, dict) and read.get("schema") == SCHEMA else None


def find_folder() -> Folder | None:
    """Find the folder for the installed LiteRT; None without LiteRT or without a cache folder.

    Host and guest run the same version: only then do differences come from the processors.
    """
    installed, cache = runtime_version(), cache_folder()
    if installed is None or cache is None:
        return None
    return Folder(cache / SETUP / f"litert-{installed}")


def runtime_version() -> str | None:
    """Return the version of LiteRT on this machine; None if it is not installed."""
    try:
        return version(RUNTIME)
    except PackageNotFoundError:
        return None


def lacks_emulator() -> Lack | None:
    """Say what is missing to run the emulator; None if nothing is."""
    if runtime_version() is None:
        return Lack(f"{RUNTIME} is not installed", INSTALL_RUNTIME)
    if shutil.which(QEMU) is None:
        return Lack(f"{QEMU} is not on PATH", f"{INSTALL_QEMU} (then {RUN_SETUP})")
    folder = find_folder()
    if folder is None:
        return Lack("there is no folder for the emulator", "set QHAL_CACHE to a folder")
    if folder.manifest is None:
        return Lack(f"the arm64 root is not set up in {folder.path}", RUN_SETUP)
    return None


def first_line(text: str) -> str:
    """Return the first line that is not empty, without a full stop; "" if there is none."""
    return (text.strip().splitlines() or [""])[0].rstrip(".")


def last_line(text: str) -> str:
    """Return the last line that is not empty, without a full stop; "" if there is none."""
    return (text.strip().splitlines() or [""])[-1].rstrip(".")


def in_words(names: Iterable[str]) -> str:
    """Join names: ``a``, ``a and b``, ``a, b and c``."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
