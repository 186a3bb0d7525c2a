"""Where the repository is, whatever folder the tests run in."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
