"""The output folder: it appears whole, or not at all."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import file_digest, sha256
from pathlib import Path
from types import TracebackType

from qhal.errors import OutputError, QhalError
from qhal.system.cleanup import Cleanup
from qhal.system.files import if_abandoned, locked_folder, plain, real, remove_tree, try_lock
from qhal.system.swap import exchange

MARKER = "record.json"
"""The record: what a folder holds beside the files that it lists, with their checksums, was not
written by qhal."""

REPORT = "report.md"
"""The record for people."""

_ELSEWHERE = "Choose a folder that you may write to with {option}."
_EXPLAINED = {
    errno.ENOSPC: ("the disk is full", "Free some space, or choose another folder with {option}."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space, or choose another {option}."),
    errno.EFBIG: ("a file would be larger than allowed", "Raise the limit (ulimit -f)."),
    errno.EACCES: ("permission denied", _ELSEWHERE),
    errno.EPERM: ("permission denied", _ELSEWHERE),
    errno.EROFS: ("the file system is read-only", "Choose another folder with {option}."),
    errno.ENAMETOOLONG: ("the name is too long", "Choose a shorter one with {option}."),
    errno.ENOTDIR: ("a part of the path is a file", "Choose another folder with {option}."),
    errno.ENOTEMPTY: ("another process wrote to it in the meantime", "Run again with --force."),
    errno.EEXIST: ("another process wrote to it in the meantime", "Run again with --force."),
}
"""What is wrong, and what to do; ``{option}`` is the one that named the folder."""

OUT = "--out"


def default_folder(model: Path, target: str, recipe: str) -> Path:
    """Name the default output: ``<model>-<target>-<recipe>`` in the working folder."""
    return Path(f"{model.stem}-{target}-{recipe}")


def check_free(path: Path, force: bool, option: str = OUT) -> None:
    """Raise OutputError if the folder cannot be written: call it before the long work.

    Only what qhal wrote, or an empty folder, is ever replaced: ``force`` does not delete
    somebody's home. What a killed run left behind is put in order first.

    Args:
        path: the folder.
        force: replace a folder that qhal wrote.
        option: the option that named the folder, which the errors name.
    """
    with _explained(path, option):
        whole = _absolute(path, option)
        _recover(whole)
        try:
            whole.lstat()
        except FileNotFoundError:
            _check_parent(whole, option)
            return
    _check_is_folder(path, option)
    _check_is_not_around(path, option)
    if not force:
        raise OutputError(
            f"The output folder {path} exists.",
            f"Give --force to replace it, or choose another one with {option}.",
        )
    with _explained(path, option):
        _check_is_ours(path, path, option)


def _absolute(path: Path, option: str) -> Path:
    """Resolve the path from the root; the folder that it is relative to may be gone."""
    if "\0" in str(path):
        raise OutputError(
            "The output path holds a NUL character.", f"Choose another one with {option}."
        )
    try:
        return path.absolute()
    except FileNotFoundError as error:
        raise OutputError(
            f"The working folder is gone, so there is no place for {path}.",
            f"Change into a folder that exists, or give a full path with {option}.",
        ) from error


def _check_is_folder(path: Path, option: str) -> None:
    """Refuse a link: the folder that it leads to may be somebody else's."""
    if path.is_symlink():
        raise OutputError(
            f"The output path {path} is a link to {path.readlink()}; links are not replaced.",
            f"Give the folder itself, or choose another one with {option}.",
        )
    if not path.is_dir():
        raise OutputError(
            f"The output path {path} exists and is not a folder.",
            f"Choose another one with {option}.",
        )


def _check_is_not_around(path: Path, option: str) -> None:
    """Refuse the working folder and its parents: a process may be using them."""
    try:
        working = real(Path.cwd())
    except FileNotFoundError:
        return
    if working.is_relative_to(real(path)):
        raise OutputError(
            f"The output folder {path} is, or holds, the working folder; it is not replaced.",
            f"Choose another one with {option}.",
        )


def _check_is_ours(folder: Path, path: Path, option: str) -> None:
    """Raise OutputError if a folder holds what qhal did not write.

    Args:
        folder: where it is now.
        path: where it was before, which the error names.
        option: the option that named it.
    """
    if why := _foreign(folder):
        raise OutputError(
            f"The folder {path} was not written by qhal alone ({why}); it is not replaced, even "
            "with --force.",
            f"Remove it yourself, or choose another one with {option}.",
        )


def _foreign(path: Path) -> str:
    """Say what in the folder is not as a record of qhal there lists it; "" if nothing is."""
    found = sorted(entry.name for entry in path.iterdir())
    written = _written(path)
    if found and not written:
        return f"it has no {MARKER} of qhal"
    for name in found:
        if name not in written or not (path / name).is_file():
            return f"{name!r} is not in its {MARKER}"
        if written[name] and _checksum(path / name) not in (None, written[name]):
            return f"{name!r} is not what its {MARKER} lists: it was changed, or is another file"
    return ""


def _written(path: Path) -> Mapping[str, str | None]:
    """Map the files that the record in a folder lists to their checksums; empty without a record.

    The record and the report, which have none, may have changed.
    """
    try:
        record = json.loads(plain(path / MARKER).read_text(encoding="utf-8"))
        version, files = record["schema_version"], record["artifact"]["files"]
        listed = {file["name"]: file["sha256"] for file in files}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    known = isinstance(version, int) and all(
        isinstance(text, str) for pair in listed.items() for text in pair
    )
    return {**listed, MARKER: None, REPORT: None} if known else {}


def _checksum(path: Path) -> str | None:
    """Return the checksum of a file; None if another process has removed it meanwhile."""
    try:
        with plain(path).open("rb") as file:
            return file_digest(file, sha256).hexdigest()
    except FileNotFoundError:
        return None


def _check_parent(path: Path, option: str) -> None:
    """Raise OutputError if no folder can be made there."""
    nearest = next(parent for parent in path.parents if os.path.lexists(parent))
    if not nearest.is_dir():
        number = errno.ENOTDIR
    elif not os.access(nearest, os.W_OK | os.X_OK):
        number = errno.EACCES
    else:
        return
    raise in_words(OSError(number, os.strerror(number)), f"the output folder {path}", option)


@dataclass
class _Publication:
    """How far a folder has come, so that it can be taken back at any moment.

    Attributes:
        path: where it shall appear.
        staging: the hidden sibling that it is written in.
        swap: the same when it is complete; where the old folder is after the exchange.
        aside: where the old folder is if the file system has no exchange.
        new: which folder is the new one, wherever it is.
        done: True when it stays.
        made: folders around it that were made, the outermost first.
        locks: on the folders, which other processes leave alone then.
    """

    path: Path
    staging: Path
    swap: Path
    aside: Path
    new: os.stat_result | None = None
    done: bool = False
    made: list[Path] = field(default_factory=list)
    locks: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, path: Path) -> _Publication:
        """Choose the names."""
        staging, swap, aside = (_sibling(path, suffix) for suffix in ("partial", "swap", "old"))
        return cls(path, staging, swap, aside)

    def lock(self, lock: int | None) -> None:
        """Keep a lock, if there is one."""
        if lock is not None:
            self.locks.append(lock)

    def is_new(self, folder: Path) -> bool:
        """Return True if this is the new folder."""
        with suppress(OSError):
            return self.new is not None and os.path.samestat(folder.lstat(), self.new)
        return False


class OutputFolder:
    """A context manager that publishes a folder atomically.

    Files are written into a hidden sibling, forced to the disk and renamed into place when the
    block ends well. When it ends with an exception, Ctrl-C included, nothing is left behind and
    what was there before is untouched.

    Args:
        path: the folder.
        force: replace a folder that qhal wrote.
        option: the option that named the folder, which the errors name.

    Example::

        with OutputFolder(Path("out"), force=False) as folder:
            folder.write("model.onnx", data)

    Raises:
        OutputError: the folder exists, or cannot be written.
    """

    def __init__(self, path: str | Path, *, force: bool = False, option: str = OUT) -> None:
        self.path = _absolute(Path(path), option)
        self._force, self._option = force, option
        self._publication = _Publication.of(self.path)

    def __enter__(self) -> OutputFolder:
        with _explained(self.path, self._option):
            check_free(self.path, self._force, self._option)
            self._tidy = Cleanup(partial(_tidy, self._publication))
            try:
                self._make_parents()
                staging, lock = locked_folder(self._make_staging)
                self._publication.lock(lock)
                self._publication.new = staging.lstat()
            except BaseException:
                self._tidy()
                raise
        return self

    def write(self, name: str, content: bytes | str) -> None:
        """Write one file; ``name`` has no folder in it."""
        if name in {"", ".", ".."} or Path(name).name != name:
            raise ValueError(f"{name!r} is not a plain file name")
        if isinstance(content, str):
            # A name that is not UTF-8 brings lone surrogates; this is how JSON escapes them.
            content = content.encode(errors="backslashreplace")
        file_path = self._publication.staging / name
        with _explained(self.path, self._option), file_path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                with _explained(self.path, self._option):
                    self._publish()
        finally:
            self._tidy()

    def _make_parents(self) -> None:
        missing = [p for p in self.path.parents if not p.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            self._publication.made.append(folder)

    def _make_staging(self) -> Path:
        staging = self._publication.staging = _sibling(self.path, "partial")
        staging.mkdir()
        return staging

    def _publish(self) -> None:
        check_free(self.path, self._force, self._option)
        _fsync_folder(self._publication.staging)
        if self.path.exists():
            self._replace()
        else:
            self._publication.staging.rename(self.path)
        _fsync_folder(self.path.parent)
        self._publication.done = True

    def _replace(self) -> None:
        """Swap the old folder for the new one: in one step where the system can.

        Where it cannot, a process that is killed between the two steps leaves the old folder
        aside; the next process that writes there puts it back. Nothing may have come into the
        old folder since it was checked, so it is checked again where nobody finds it.
        """
        swap, aside = self._publication.swap, self._publication.aside
        self._publication.lock(try_lock(self.path))
        self._publication.staging.rename(swap)
        if exchange(swap, self.path):
            _check_is_ours(swap, self.path, self._option)
            return
        self.path.rename(aside)
        _check_is_ours(aside, self.path, self._option)
        swap.rename(self.path)


def _sibling(path: Path, suffix: str) -> Path:
    return path.parent / f"{_prefix(path)}{secrets.token_hex(4)}.{suffix}"


def _prefix(path: Path) -> str:
    """How the names of a folder's hidden siblings begin; short, however long its own name is."""
    name = os.fsencode(path.name)[:80].decode(errors="replace").rstrip("\ufffd")
    return f".{name}."


def _tidy(publication: _Publication) -> None:
    """Leave the new folder if it is done, else what was there before; nothing else."""
    p = publication
    if not p.done:
        _take_back(p)
    for folder in (p.staging, p.swap):
        if p.done or p.new is None or p.is_new(folder):
            remove_tree(folder)
    if p.done:
        remove_tree(p.aside)
    while p.locks:
        os.close(p.locks.pop())
    if not p.done:
        for made in reversed(p.made):
            with suppress(OSError):
                made.rmdir()


def _take_back(p: _Publication) -> None:
    """Give its path back to the old folder, if there was one."""
    if p.is_new(p.path):
        if os.path.lexists(p.swap):
            exchange(p.swap, p.path)
        else:
            p.path.rename(p.staging)
    if os.path.lexists(p.aside) and not os.path.lexists(p.path):
        p.aside.rename(p.path)


@contextmanager
def put_in_order(*folders: Path) -> Iterator[None]:
    """Put in order what was left beside folders if the block, which wrote them, fails.

    A process that was killed did not do it, and a folder may have withstood its removal: an error
    then names it.
    """
    try:
        yield
    except QhalError as error:
        left = [str(sibling) for folder in folders for sibling in _still_left(folder)]
        if left:
            error.hint += f"\nThis is left half-written; remove it: {', '.join(left)}."
        raise
    except BaseException:
        for folder in folders:
            _still_left(folder)
        raise


def _still_left(folder: Path) -> Sequence[Path]:
    """Put in order what can be, and return what could not be removed."""
    try:
        return _recover(folder.absolute())
    except OSError:
        return ()


def _recover(path: Path) -> Sequence[Path]:
    """Put in order what killed runs left beside a folder: an old one that was moved aside.

    Returns:
        What could not be removed.
    """
    abandoned_ones = []
    for sibling in _siblings(path):
        with if_abandoned(sibling) as abandoned:
            if not abandoned:
                continue
            abandoned_ones.append(sibling)
            if sibling.suffix == ".old" and not os.path.lexists(path):
                sibling.rename(path)
            elif sibling.suffix == ".swap":
                _settle(path, sibling)
            else:
                remove_tree(sibling)
    return [sibling for sibling in abandoned_ones if os.path.lexists(sibling)]


def _settle(path: Path, swap: Path) -> None:
    """Remove one of the two folders that a killed run was exchanging.

    The one aside goes, whichever it is, because both are whole. But if something came into it
    that qhal did not write, it is the old one; it gets its place back and the new one goes.
    """
    if _foreign(swap):
        if not os.path.lexists(path):
            swap.rename(path)
            return
        if not _written(swap) or _foreign(path) or not exchange(swap, path):
            return
    remove_tree(swap)


def _siblings(path: Path) -> list[Path]:
    """Hidden folders of earlier runs, those that were moved aside first, the newest first."""
    name = re.compile(re.escape(_prefix(path)) + r"[0-9a-f]{8}\.(old|partial|swap)")
    try:
        found = [entry for entry in path.parent.iterdir() if name.fullmatch(entry.name)]
        return sorted(found, key=lambda f: (f.suffix != ".old", -f.lstat().st_mtime))
    except OSError:
        return []


def _fsync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)


@contextmanager
def _explained(path: Path, option: str) -> Iterator[None]:
    """Turn an OSError into an OutputError in words."""
    try:
        yield
    except OSError as error:
        raise in_words(error, f"the output folder {path}", option) from error


def in_words(error: OSError, what: str, option: str = "") -> OutputError:
    """Make the OutputError for an OSError raised while writing ``what``.

    Args:
        error: what the system says.
        what: a noun phrase.
        option: the option that says where ``what`` goes; "" if none does.
    """
    reason, hint = _EXPLAINED.get(
        error.errno or 0, (error.strerror or str(error), "Choose another folder with {option}.")
    )
    if not option and "{option}" in hint:
        hint = "Free some space." if is_full_disk(error) else ""
    return OutputError(f"Cannot write {what}: {reason}.", hint.format(option=option))


def is_full_disk(error: OSError) -> bool:
    """Return True if there is no room to write, wherever that was."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
