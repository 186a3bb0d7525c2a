"""Where the process of a command begins, before anything slow is imported."""

from __future__ import annotations

import signal


def main() -> int:
    """Run the command of this process and return its exit code.

    Ctrl-C ends it without a traceback from the first moment on: imports take a while.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from qhal.cli.main import main as run

    return run()
