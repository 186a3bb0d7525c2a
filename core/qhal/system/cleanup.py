"""What is put in order even if the process ends first."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable


class Cleanup:
    """Put something in order when it is called, or else when the process ends.

    Args:
        put_in_order: does it. If the process ends in the midst of it, it is done once more, so it
            has to be able to start anywhere.
    """

    def __init__(self, put_in_order: Callable[[], None]) -> None:
        self._put_in_order, self._owner = put_in_order, os.getpid()
        atexit.register(self._run)

    def __call__(self) -> None:
        """Do it now, and not again when the process ends."""
        self._run()
        atexit.unregister(self._run)

    def _run(self) -> None:
        if os.getpid() == self._owner:  # a copy of the process owns nothing
            self._put_in_order()
