"""Where the process of a command begins, before anything slow is imported."""

from __future__ import annotations

import os
import signal
import sys

_ELSEWHERE = (
    "qhal runs on Linux, and without some measurements on macOS; not on this system.\n"
    "  On Windows, use the Windows Subsystem for Linux."
)

_NO_MEMORY = "error QH801: There is not enough memory.\n  Raise the limit (ulimit -v).\n"


def main() -> int:
    """Run the command of this process and return its exit code.

    Ctrl-C ends it without a traceback from the first moment on: imports take a while.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.name != "posix":
        sys.stderr.write(f"error: {_ELSEWHERE}\n")
        return 2
    from qhal.system import telemetry

    telemetry.turn_off()
    try:
        from qhal.cli.main import main as run
    except (ImportError, MemoryError, OSError) as error:
        return _complain(error)
    try:
        return run()
    except MemoryError:  # also while an error was to be told
        sys.stderr.write(_NO_MEMORY)
        return 2


def _complain(error: ImportError | MemoryError | OSError) -> int:
    """Say what keeps qhal's own modules from being loaded, if the machine does."""
    from qhal.system.shortage import shortage

    want = shortage(error)
    if want is None:
        raise error
    sys.stderr.write(f"error {want.code}: {want.message}\n  {want.hint}\n")
    return want.exit_code
