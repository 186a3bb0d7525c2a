"""An arm64 root from Debian packages, without touching the system's own packages.

``apt-get`` works with lists, sources and a cache of its own, and checks the archive's signature
and the checksum of every package; ``dpkg-deb -x`` unpacks them. None of this needs root rights.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from qhal.errors import MissingDependencyError
from qhal.system.children import run_tied

RELEASE = "bookworm"
PYTHON = "3.11"
"""The Python of that release."""

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_ARCHIVES = (
    ("http://deb.debian.org/debian", RELEASE),
    ("http://deb.debian.org/debian-security", f"{RELEASE}-security"),
)

PACKAGES = (
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    f"python{PYTHON}-minimal",
    f"libpython{PYTHON}-minimal",
    f"libpython{PYTHON}-stdlib",
    "libbz2-1.0",
    "libcrypt1",
    "libexpat1",
    "libffi8",
    "liblzma5",
    "libssl3",
    "libuuid1",
    "zlib1g",
)
"""A Python with the standard library that NumPy and LiteRT import, and nothing else."""

_TIMEOUT_S = 600.0


def download(folder: Path, work: Path) -> None:
    """Download the packages that are not in a folder yet.

    Args:
        folder: where the ``.deb`` files go.
        work: apt's own files; kept, so that an interrupted download can continue.

    Raises:
        MissingDependencyError: the archive cannot be reached, or lacks a package.
    """
    for made in (folder, work / "lists" / "partial", work / "archives" / "partial"):
        made.mkdir(parents=True, exist_ok=True)
    sources = "".join(
        f"deb [arch=arm64 signed-by={KEYRING}] {uri} {suite} main\n" for uri, suite in _ARCHIVES
    )
    (work / "sources.list").write_text(sources, encoding="utf-8")
    options = [word for setting in _settings(work) for word in ("-o", setting)]
    _run(["apt-get", *options, "update"], folder)
    _run(["apt-get", *options, "download", *PACKAGES], folder)


def unpack(folder: Path, root: Path) -> None:
    """Unpack all packages of a folder into a root."""
    root.mkdir(parents=True)
    for package in sorted(folder.glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(root)], folder)


def _settings(work: Path) -> Sequence[str]:
    return (
        "APT::Architecture=arm64",
        "APT::Architectures=arm64",
        "APT::Sandbox::User=root",
        "APT::Update::Error-Mode=any",
        "Acquire::Languages=none",
        "Acquire::Retries=3",
        "Dir::Etc::SourceList=" + str(work / "sources.list"),
        "Dir::Etc::SourceParts=/dev/null",
        "Dir::State=" + str(work),
        "Dir::State::Lists=" + str(work / "lists"),
        "Dir::State::Status=/dev/null",
        "Dir::Cache=" + str(work),
        "Dir::Cache::Archives=" + str(work / "archives"),
    )


def _run(command: Sequence[str], folder: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = run_tied(command, _TIMEOUT_S, folder=folder, environment=environment)
    if done.code != 0:
        lines = [line for line in done.err.splitlines() if line.startswith(("E:", "dpkg"))]
        raise _failed(command, done.failure((lines or [""])[0]))


def _failed(command: Sequence[str], reason: str) -> MissingDependencyError:
    verb = next(word for word in command[1:] if word in ("update", "download", "-x"))
    return MissingDependencyError(
        f"The arm64 packages of Debian {RELEASE} cannot be installed: `{command[0]} {verb}` "
        f"{reason.rstrip('.')}.",
        "Check the network and the disk, and run it again: finished downloads are kept.",
    )
