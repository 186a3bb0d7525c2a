"""The output folder: it appears whole, or not at all."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from qhal.errors import OutputError
from qhal.system.files import if_abandoned, plain, try_lock
from qhal.system.swap import exchange

MARKER = "record.json"
"""The record: what a folder holds beside the files that it lists was not written by qhal."""

REPORT = "report.md"
"""The record for people."""

_EXPLAINED = {
    errno.ENOSPC: ("the disk is full", "Free some space, or choose another folder with --out."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space, or choose another --out."),
    errno.EFBIG: ("a file would be larger than allowed", "Raise the limit (ulimit -f)."),
    errno.EACCES: ("permission denied", "Choose a folder that you may write to with --out."),
    errno.EPERM: ("permission denied", "Choose a folder that you may write to with --out."),
    errno.EROFS: ("the file system is read-only", "Choose another folder with --out."),
    errno.ENAMETOOLONG: ("the name is too long", "Choose a shorter one with --out."),
    errno.ENOTDIR: ("a part of the path is a file", "Choose another folder with --out."),
    errno.ENOTEMPTY: ("somebody else wrote it meanwhile", "Run again with --force."),
    errno.EEXIST: ("somebody else wrote it meanwhile", "Run again with --force."),
}


def default_folder(model: Path, target: str, recipe: str) -> Path:
    """Name the default output: ``<model>-<target>-<recipe>`` in the working folder."""
    return Path(f"{model.stem}-{target}-{recipe}")


def check_free(path: Path, force: bool) -> None:
    """Raise OutputError if the folder cannot be written: call it before the long work.

    Only what qhal wrote, or an empty folder, is ever replaced: ``force`` does not delete
    somebody's home. What a killed run left behind is put in order first.
    """
    with _explained(path):
        whole = _absolute(path)
        _recover(whole)
        try:
            whole.lstat()
        except FileNotFoundError:
            _check_parent(whole)
            return
    _check_is_folder(path)
    _check_is_not_around(path)
    if not force:
        raise OutputError(
            f"The output folder {path} exists.",
            "Give --force to replace it, or choose another one with --out.",
        )
    with _explained(path):
        _check_is_ours(path)


def _absolute(path: Path) -> Path:
    """Resolve the path from the root; the folder that it is relative to may be gone."""
    if "\0" in str(path):
        raise OutputError(
            "The output path holds a NUL character.", "Choose another one with --out."
        )
    try:
        return path.absolute()
    except FileNotFoundError as error:
        raise OutputError(
            f"The working folder is gone, so there is no place for {path}.",
            "Change into a folder that exists, or give a full path with --out.",
        ) from error


def _check_is_folder(path: Path) -> None:
    """Refuse a link: the folder that it leads to may be somebody else's."""
    if path.is_symlink():
        raise OutputError(
            f"The output path {path} is a link to {path.readlink()}; links are not replaced.",
            "Give the folder itself, or choose another one with --out.",
        )
    if not path.is_dir():
        raise OutputError(
            f"The output path {path} exists and is not a folder.", "Choose another one with --out."
        )


def _check_is_not_around(path: Path) -> None:
    """Refuse the working folder and its parents: a process may be using them."""
    try:
        working = Path.cwd().resolve()
    except FileNotFoundError:
        return
    if working.is_relative_to(path.resolve()):
        raise OutputError(
            f"The output folder {path} is, or holds, the working folder; it is not replaced.",
            "Choose another one with --out.",
        )


def _check_is_ours(path: Path) -> None:
    """Whether every file in the folder is one that a record of qhal there lists."""
    found = sorted(entry.name for entry in path.iterdir())
    if not found:
        return
    written = _written(path)
    foreign = [name for name in found if name not in written or not (path / name).is_file()]
    if written and not foreign:
        return
    why = f"{foreign[0]!r} is not in its {MARKER}" if written else f"it has no {MARKER} of qhal"
    raise OutputError(
        f"The folder {path} was not written by qhal alone ({why}); it is not replaced, even with "
        "--force.",
        "Remove it yourself, or choose another one with --out.",
    )


def _written(path: Path) -> frozenset[str]:
    """Names of the files that the record in a folder lists; empty if there is no record."""
    try:
        record = json.loads(plain(path / MARKER).read_text(encoding="utf-8"))
        version, files = record["schema_version"], record["artifact"]["files"]
        names = [file["name"] for file in files]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return frozenset()
    known = isinstance(version, int) and all(isinstance(name, str) for name in names)
    return frozenset((MARKER, REPORT, *names)) if known else frozenset()


def _check_parent(path: Path) -> None:
    """Raise OutputError if no folder can be made there."""
    nearest = next(parent for parent in path.parents if os.path.lexists(parent))
    if not nearest.is_dir():
        number = errno.ENOTDIR
    elif not os.access(nearest, os.W_OK | os.X_OK):
        number = errno.EACCES
    else:
        return
    raise in_words(OSError(number, os.strerror(number)), f"the output folder {path}")


class OutputFolder:
    """A context manager that publishes a folder atomically.

    Files are written into a hidden sibling, forced to the disk and renamed into place when the
    block ends well. When it ends with an exception, Ctrl-C included, nothing is left behind and
    what was there before is untouched.

    Example::

        with OutputFolder(Path("out"), force=False) as folder:
            folder.write("model.onnx", data)

    Raises:
        OutputError: the folder exists, or cannot be written.
    """

    def __init__(self, path: str | Path, *, force: bool = False) -> None:
        self.path = _absolute(Path(path))
        self._force = force
        self._staging, self._aside = self._sibling("partial"), self._sibling("old")
        self._made: list[Path] = []
        self._locks: list[int] = []
        # Also runs when the process ends before the block does.
        self._tidy = weakref.finalize(
            self, _tidy, self.path, self._staging, self._aside, self._made, self._locks
        )

    def __enter__(self) -> OutputFolder:
        with _explained(self.path):
            check_free(self.path, self._force)
            try:
                self._make_parents()
                self._staging.mkdir()
                self._locks.extend(filter(None, [try_lock(self._staging)]))
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
        with _explained(self.path), (self._staging / name).open("wb") as file:
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
                with _explained(self.path):
                    self._publish()
                self._made.clear()
        finally:
            self._tidy()

    def _sibling(self, suffix: str) -> Path:
        return self.path.parent / f"{_prefix(self.path)}{secrets.token_hex(4)}.{suffix}"

    def _make_parents(self) -> None:
        missing = [p for p in self.path.parents if not p.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            self._made.append(folder)

    def _publish(self) -> None:
        check_free(self.path, self._force)
        _fsync_folder(self._staging)
        if self.path.exists():
            self._replace()
        else:
            self._staging.rename(self.path)
        _fsync_folder(self.path.parent)

    def _replace(self) -> None:
        """Swap the old folder for the new one; restore the old one if that fails.

        In one step where the system can. Where it cannot, a process that is killed between the
        two steps leaves the old folder aside; whoever wants to write there next puts it back.
        """
        if not exchange(self._staging, self.path):
            self._locks.extend(filter(None, [try_lock(self.path)]))
            self.path.rename(self._aside)
            self._staging.rename(self.path)
            return
        try:
            _check_is_ours(self._staging)  # now the old one: nothing came into it meanwhile
        except OutputError:
            exchange(self._staging, self.path)
            raise


def _prefix(path: Path) -> str:
    """How the names of a folder's hidden siblings begin; short, however long its own name is."""
    name = os.fsencode(path.name)[:80].decode(errors="replace").rstrip("\ufffd")
    return f".{name}."


def _tidy(path: Path, staging: Path, aside: Path, made: list[Path], locks: list[int]) -> None:
    """Leave the new folder, or what was there before; nothing else."""
    shutil.rmtree(staging, ignore_errors=True)
    if aside.exists() and not path.exists():
        aside.rename(path)
    shutil.rmtree(aside, ignore_errors=True)
    for lock in locks:
        os.close(lock)
    for folder in reversed(made):
        with suppress(OSError):
            folder.rmdir()


def _recover(path: Path) -> None:
    """Put in order what killed runs left beside a folder: an old one that was moved aside."""
    for sibling in _siblings(path):
        with if_abandoned(sibling) as abandoned:
            if not abandoned:
                continue
            if sibling.suffix == ".old" and not os.path.lexists(path):
                sibling.rename(path)
            else:
                shutil.rmtree(sibling, ignore_errors=True)


def _siblings(path: Path) -> list[Path]:
    """Hidden folders of earlier runs, those that were moved aside first, the newest first."""
    name = re.compile(re.escape(_prefix(path)) + r"[0-9a-f]{8}\.(old|partial)")
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
def _explained(path: Path) -> Iterator[None]:
    """Turn an OSError into an OutputError in words."""
    try:
        yield
    except OSError as error:
        raise in_words(error, f"the output folder {path}") from error


def in_words(error: OSError, what: str) -> OutputError:
    """Make the OutputError for an OSError raised while writing ``what``."""
    reason, hint = _EXPLAINED.get(
        error.errno or 0, (error.strerror or str(error), "Choose another folder with --out.")
    )
    return OutputError(f"Cannot write {what}: {reason}.", hint)


def is_full_disk(error: OSError) -> bool:
    """Return True if there is no room to write, wherever that was."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
