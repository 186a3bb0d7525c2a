"""The output folder: it appears whole, or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from qhal.errors import OutputError

MARKER = "record.json"
"""A folder that holds this file was written by qhal and may be replaced with ``force``."""

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
    somebody's home.
    """
    if not os.path.lexists(path):
        _check_parent(path)
        return
    if not path.is_dir():
        raise OutputError(
            f"The output path {path} exists and is not a folder.", "Choose another one with --out."
        )
    if not force:
        raise OutputError(
            f"The output folder {path} exists.",
            "Give --force to replace it, or choose another one with --out.",
        )
    if not (path / MARKER).is_file() and any(path.iterdir()):
        raise OutputError(
            f"The folder {path} was not written by qhal (it has no {MARKER}); "
            "it is not replaced, even with --force.",
            "Remove it yourself, or choose another one with --out.",
        )


def _check_parent(path: Path) -> None:
    """Raise OutputError if no folder can be made there."""
    nearest = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
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
        self.path = Path(path).resolve() if Path(path).is_symlink() else Path(path).absolute()
        self._force = force
        self._staging, self._aside = self._sibling("partial"), self._sibling("old")
        self._made: list[Path] = []
        # Also runs when the process ends before the block does.
        self._tidy = weakref.finalize(
            self, _tidy, self.path, self._staging, self._aside, self._made
        )

    def __enter__(self) -> OutputFolder:
        with _explained(self.path):
            check_free(self.path, self._force)
            try:
                self._make_parents()
                self._staging.mkdir()
            except BaseException:
                self._tidy()
                raise
        return self

    def write(self, name: str, content: bytes | str) -> None:
        """Write one file; ``name`` has no folder in it."""
        if name in {"", ".", ".."} or Path(name).name != name:
            raise ValueError(f"{name!r} is not a plain file name")
        data = content.encode() if isinstance(content, str) else content
        with _explained(self.path), (self._staging / name).open("wb") as file:
            file.write(data)
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
        return self.path.parent / f".{self.path.name[:80]}.{secrets.token_hex(4)}.{suffix}"

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
        """Swap the old folder for the new one; restore the old one if that fails."""
        self.path.rename(self._aside)
        self._staging.rename(self.path)


def _tidy(path: Path, staging: Path, aside: Path, made: list[Path]) -> None:
    """Leave the new folder, or what was there before; nothing else."""
    shutil.rmtree(staging, ignore_errors=True)
    if aside.exists() and not path.exists():
        aside.rename(path)
    shutil.rmtree(aside, ignore_errors=True)
    for folder in reversed(made):
        with suppress(OSError):
            folder.rmdir()


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
