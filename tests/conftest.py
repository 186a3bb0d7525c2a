"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def zoo() -> Path:
    """The folder of real models and data; tests that need it skip when it is absent."""
    root = Path(os.environ.get("QHAL_ZOO", "../shared")).resolve() / "zoo"
    if not (root / "manifest.toml").is_file():
        pytest.skip(f"no model zoo at {root}; set QHAL_ZOO to the folder that holds it")
    return root
