"""How much longer `import qhal` and `qhal --help` take than Python itself: medians in ms."""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

STARTS = {
    "python -c pass": "pass",
    "import qhal": "import qhal",
    "qhal --help": "from qhal.cli.main import main; main(['--help'])",
}
ROUNDS = 11


def milliseconds(code: str) -> float:
    """One start of the interpreter."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    return 1e3 * (time.perf_counter() - began)


def main() -> None:
    """Interleave the starts, so that a busy moment meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in STARTS}
    for _ in range(ROUNDS):
        for name, code in STARTS.items():
            times[name].append(milliseconds(code))
    bare = median(times["python -c pass"])
    for name, values in times.items():
        print(f"{name:16} {median(values):7.1f} ms  (+{median(values) - bare:.1f} ms)")


if __name__ == "__main__":
    main()
