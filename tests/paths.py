"""Where the repository is, whatever folder the tests run in."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

PATH = os.pathsep.join(entry for entry in sys.path if entry)
"""What a process of its own needs as PYTHONPATH to import what the tests do."""
