"""The child of :mod:`qhal.measure.memory`: ``python -m qhal.measure.child FOLDER PARENT``."""

from __future__ import annotations

import sys
from pathlib import Path

from qhal.system import telemetry
from qhal.system.children import end_with

if __name__ == "__main__":
    end_with(int(sys.argv[2]))  # before what takes long to import
    telemetry.turn_off()
    from qhal.measure.peak import tell_peak

    sys.exit(tell_peak(Path(sys.argv[1])))
