"""The part of a child that is a new process; see :mod:`qhal.system.guard`, which starts it."""

from __future__ import annotations

import os
import pickle
import sys
from mmap import mmap
from typing import NoReturn

from qhal.system.children import end_with, leave
from qhal.system.signals import leaving, silently
from qhal.system.trail import PAGE_BYTES, trail
from qhal.system.wire import Sender, tell_result


def main(pipe: int, page: int, parent: int) -> NoReturn:
    """Do the work that comes through stdin, or say that it cannot be loaded here.

    Args:
        pipe: descriptor of the pipe to the parent.
        page: descriptor of the file for the trail.
        parent: number of the process that started this one.
    """
    end_with(parent)
    sender = Sender(pipe)
    os.set_inheritable(pipe, False)
    trail().leave_in(mmap(page, PAGE_BYTES))
    os.close(page)
    with leaving(silently):
        try:
            work = pickle.load(sys.stdin.buffer)
        except Exception:  # noqa: BLE001 - whatever the user's modules raise: the caller has them
            sender.declined()
            leave(0)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        tell_result(work, sender)
    leave(0)
