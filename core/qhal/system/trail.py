"""What the process is doing, kept where another process can still read it after a crash."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cache
from mmap import mmap

PAGE_BYTES = 8192
_LONGEST = 400
_MOST = 8


class Kind(Enum):
    """Whose doing a crash is."""

    MODEL = "model"
    ARTIFACT = "artifact"
    BACKEND = "backend"
    DATA = "data"


@dataclass(frozen=True)
class Activity:
    """Something that code outside Python does.

    Attributes:
        kind: whose doing a crash would be.
        words: a clause in the past tense, such as ``onnxruntime 1.20 loaded m.onnx``.
    """

    kind: Kind
    words: str


class Trail:
    """The innermost activity of every thread, in a page of memory that two processes share.

    Attributes:
        watched: another process looks after this one already, or none is wanted.
    """

    def __init__(self) -> None:
        self.watched = False
        self._page: mmap | None = None
        self._stacks: dict[int, list[Activity]] = {}
        self._lock = threading.Lock()

    def leave_in(self, page: mmap) -> None:
        """Write all further activities into a page."""
        self._page, self.watched = page, True
        self._stacks.clear()

    def enter(self, activity: Activity) -> None:
        """Begin an activity in this thread."""
        with self._lock:
            self._stacks.setdefault(threading.get_ident(), []).append(activity)
            self._write()

    def leave(self) -> None:
        """End the last activity of this thread."""
        with self._lock:
            stack = self._stacks[threading.get_ident()]
            stack.pop()
            if not stack:
                del self._stacks[threading.get_ident()]
            self._write()

    def _write(self) -> None:
        if self._page is None:
            return
        innermost = [stack[-1] for stack in self._stacks.values()][-_MOST:]
        pairs = [(activity.kind.value, activity.words[:_LONGEST]) for activity in innermost]
        while len(text := _encoded(pairs)) > PAGE_BYTES:
            del pairs[0]
        self._page[: len(text)] = text


def _encoded(pairs: list[tuple[str, str]]) -> bytes:
    text = json.dumps(pairs, ensure_ascii=False)
    return text.encode(errors="surrogatepass") + b"\0"  # names of files may hold any bytes


# One for the process, because a crash is the whole process's: the parent has one page to read, and
# whoever enters an activity, deep inside of any call and in any thread, has to find it.
@cache
def trail() -> Trail:
    """Return the trail of this process."""
    return Trail()


@contextmanager
def doing(kind: Kind, words: str) -> Iterator[None]:
    """Enter an activity for as long as the block lasts.

    A MemoryError that leaves the block is given the words as a note.
    """
    trail().enter(Activity(kind, words))
    try:
        yield
    except MemoryError as error:
        if not getattr(error, "__notes__", ()):
            error.add_note(words)
        raise
    finally:
        trail().leave()


def read(page: mmap) -> tuple[Activity, ...]:
    """Read what a process, which may be dead, was doing."""
    try:
        pairs = json.loads(page[:PAGE_BYTES].partition(b"\0")[0] or b"[]")
        return tuple(Activity(Kind(kind), words) for kind, words in pairs)
    except ValueError:
        return ()
