"""Installs the distributions of ``tests/plugins/data`` as pip would: by copying."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree

from tests.paths import ROOT

DATA = ROOT / "tests" / "plugins" / "data"
EVERY = tuple(sorted(path.name for path in DATA.iterdir() if path.is_dir()))


def installed(site: Path, *names: str) -> Path:
    """Copy distributions into a folder, for ``sys.path`` or ``PYTHONPATH``, and return it."""
    for name in names:
        copytree(DATA / name, site, dirs_exist_ok=True)
    return site
