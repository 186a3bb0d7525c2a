"""LiteRT and what it needs as aarch64 wheels from the package index."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

from qhal.errors import MissingDependencyError
from qhal.system.children import run_tied
from qhal_backends.arm.emulator.debian import PYTHON

_PLATFORMS = tuple(
    f"{name}_aarch64"
    for name in ("manylinux2014", "manylinux_2_17", "manylinux_2_27", "manylinux_2_28")
)
"""Wheels that run on the C library of the root (glibc 2.36) and are published."""

_TIMEOUT_S = 900.0


def download(requirement: str, folder: Path) -> None:
    """Download a package and its dependencies, except what is in the folder already.

    Raises:
        MissingDependencyError: the index cannot be reached, or has no such wheel.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"]
    command += [f"--platform={platform}" for platform in _PLATFORMS]
    command += [f"--dest={folder}", requirement]
    done = run_tied(command, _TIMEOUT_S)
    if done.code != 0:
        lines = [line for line in done.err.splitlines() if "ERROR" in line]
        raise _failed(requirement, f"pip {done.failure((lines or [''])[0])}")


def unpack(folder: Path, site: Path) -> None:
    """Unpack all wheels of a folder side by side.

    Raises:
        MissingDependencyError: a wheel is damaged.
    """
    for wheel in sorted(folder.glob("*.whl")):
        try:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
        except zipfile.BadZipFile as error:
            wheel.unlink()
            raise _failed(wheel.name, f"the file is damaged ({error}) and was removed") from error


def _failed(what: str, reason: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"The aarch64 wheels of {what} cannot be installed: {reason.rstrip('.')}.",
        "Check the network and the disk, and run it again: finished downloads are kept.",
    )
