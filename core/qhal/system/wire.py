"""What a child tells its parent: progress, values, and at the end a result or an error."""

from __future__ import annotations

import os
import pickle
import struct
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from itertools import count, pairwise
from os import _exit as end
from typing import Any, Protocol

from qhal.errors import InternalError, QhalError, in_one_line
from qhal.progress import Advance, Progress
from qhal.system.shortage import out_of_memory, shortage

_SIZE = struct.Struct("<Q")


class Wire(Protocol):
    """What work in a child, or in this process, has of the caller's."""

    @property
    def progress(self) -> Progress:
        """Who shows progress."""
        ...

    def send(self, value: object) -> None:
        """Hand over a value before the work is done: it stays, even if the rest crashes."""
        ...


@dataclass(frozen=True)
class NoWire:
    """The wire of work in the caller's own process.

    Attributes:
        progress: the caller's.
        receive: takes what the work sends.
    """

    progress: Progress
    receive: Callable[[Any], object]

    def send(self, value: object) -> None:
        """Hand over a value."""
        self.receive(value)


class Sender:
    """The child's end of a pipe. It is also the child's :class:`Progress`.

    A copy of the child that some code forked has nothing to tell: it ends when it tries.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._owner = descriptor, os.getpid()
        self._lock = threading.Lock()
        self._numbers = count()

    @property
    def progress(self) -> Progress:
        """Itself: stages are told to the parent."""
        return self

    def send(self, value: object) -> None:
        """Hand over a value."""
        self._tell("item", value)

    def done(self, value: object) -> None:
        """Hand over the result."""
        self._tell("done", value)

    def declined(self) -> None:
        """Say that the work cannot be done here."""
        self._tell("declined", None)

    def failed(self, error: BaseException) -> None:
        """Hand over an exception with all that caused it; the traceback goes as text."""
        self._tell("failed", error)

    @contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Advance]:
        """Enter a stage, see :class:`qhal.progress.Progress`."""
        number = next(self._numbers)
        self._tell("stage", (number, title, total))
        try:
            yield lambda units: self._tell("advance", (number, units))
        finally:
            self._tell("end", number)

    def _tell(self, kind: str, value: object) -> None:
        if os.getpid() != self._owner:
            end(1)
        content = _dumped((kind, value))
        rest = memoryview(_SIZE.pack(len(content)) + content)
        with self._lock:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]


@dataclass
class Receiver:
    """The parent's end of the pipe.

    Attributes:
        progress: who shows what the child tells.
        receive: takes the values that the child sends.
        ended: True once there is a result or an error.
        declined: True if the child cannot do the work.
        result: of the work.
        error: that it raised.
    """

    progress: Progress
    receive: Callable[[Any], object]
    ended: bool = False
    declined: bool = False
    result: Any = None
    error: BaseException | None = None
    _buffer: bytearray = field(default_factory=bytearray)
    _stages: dict[int, tuple[ExitStack, Advance]] = field(default_factory=dict)

    def feed(self, content: bytes) -> None:
        """Take what came through the pipe; the last message may be incomplete."""
        self._buffer += content
        while len(self._buffer) >= _SIZE.size:
            (size,) = _SIZE.unpack_from(self._buffer)
            if len(self._buffer) < (end := _SIZE.size + size):
                return
            message = bytes(self._buffer[_SIZE.size : end])
            del self._buffer[:end]
            self._take(*pickle.loads(message))

    def close(self) -> None:
        """End all stages that the child did not end."""
        for opened, _ in self._stages.values():
            opened.close()
        self._stages.clear()

    def _take(self, kind: str, value: Any) -> None:
        match kind:
            case "stage":
                number, title, total = value
                opened = ExitStack()
                advance = opened.enter_context(self.progress.stage(title, total))
                self._stages[number] = opened, advance
            case "advance":
                number, units = value
                self._stages[number][1](units)
            case "end":
                self._stages.pop(value)[0].close()
            case "item":
                self.receive(value)
            case "declined":
                self.ended = self.declined = True
            case "done":
                self.ended, self.result = True, value
            case "failed":
                self.ended, self.error = True, value


class _ElsewhereError(Exception):
    """The traceback of an exception in a child, as text."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def tell_result(work: Callable[[Wire], object], sender: Sender) -> None:
    """Do the work in a child, and hand over what comes of it."""
    try:
        sender.done(work(sender))
    except MemoryError as error:
        sender.failed(out_of_memory(error))
    except OSError as error:
        sender.failed(shortage(error) or error)  # its traceback, which tells, stays here
    except BaseException as error:  # noqa: BLE001 - it is raised again in the parent
        sender.failed(error)


class _Pickler(pickle.Pickler):
    """Pickles values; the exceptions in them arrive with their causes, whatever their class."""

    def reducer_override(self, value: Any) -> Any:
        """Return how to make an exception again; all else goes the usual way."""
        return (_chained, _portable(value)) if isinstance(value, BaseException) else NotImplemented


def _dumped(value: object) -> bytes:
    content = BytesIO()
    _Pickler(content).dump(value)
    return content.getvalue()


def _portable(error: BaseException) -> tuple[Sequence[Sequence[bytes]], str]:
    """Return an exception and its causes, each pickled, and the traceback as text."""
    chain, text = [error], ""
    while (cause := chain[-1].__cause__) is not None and cause not in chain:
        chain.append(cause)
    if len(chain) > 1 or type(error).__module__ == "builtins" or isinstance(error, InternalError):
        text = "".join(traceback.format_exception(error))
    return [_pickled(link) for link in chain], text


def _pickled(error: BaseException) -> Sequence[bytes]:
    """Pickle an exception in all ways that keep its words; the best one comes first.

    Its class may be one that cannot be imported, here or there, or whose constructor takes other
    arguments than those that the exception has.
    """
    try:
        words = str(error)
    except Exception:  # noqa: BLE001 - whatever its __str__ does
        return [pickle.dumps(Exception(type(error).__name__))]
    ways: list[object] = [error, _Bare((type(error), error.args, dict(vars(error))))]
    if isinstance(error, QhalError):
        known: type[BaseException] = next(
            c for c in type(error).__mro__ if c.__module__ == QhalError.__module__
        )
        parts: dict[str, object] = {"message": error.message, "hint": error.hint}
        ways.append(_Bare((known, (error.message,), parts)))
    found = (_kept(way, words) for way in ways)
    return [*filter(None, found), pickle.dumps(Exception(in_one_line(error)))]


class _Bare(tuple[type[BaseException], tuple[object, ...], dict[str, object]]):
    """Class, arguments and attributes of an exception, which it is made of without its constructor.

    It is pickled as the call that makes the exception.
    """

    def __reduce__(self) -> Any:
        return _made, tuple(self)


def _made(
    kind: type[BaseException], arguments: Sequence[object], attributes: dict[str, object]
) -> BaseException:
    error = kind.__new__(kind, *arguments)
    vars(error).update(attributes)
    return error


def _kept(way: object, words: str) -> bytes:
    """Pickle an exception; nothing if it comes back with other words, or not at all."""
    try:
        content = pickle.dumps(way)
        return content if str(pickle.loads(content)) == words else b""
    except Exception:  # noqa: BLE001 - whatever its class does
        return b""


def _chained(chain: Sequence[Sequence[bytes]], text: str) -> BaseException:
    """Put an exception and its causes together again."""
    errors = [_loaded(ways) for ways in chain]
    for error, cause in pairwise(errors):
        error.__cause__ = cause
    if text:
        errors[-1].__cause__ = _ElsewhereError(text)
    return errors[0]


def _loaded(ways: Sequence[bytes]) -> BaseException:
    """Load an exception in the first way that works here; the last one always does."""
    for content in ways:
        with suppress(Exception):
            return pickle.loads(content)  # type: ignore[no-any-return]
    return Exception("an exception that cannot be loaded")
