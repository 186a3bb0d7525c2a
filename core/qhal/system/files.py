"""Files that the user names, and locks on folders: nothing here waits for another process."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SPECIAL = {
    stat.S_ISFIFO: "a named pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}

_TRIES = 200


def plain(path: Path) -> Path:
    """Return the path, unless it is a pipe, a socket or a device: reading these may never end.

    Raises:
        OSError: it is one of these, or it cannot be examined; ``strerror`` says so in words.
    """
    try:
        mode = path.stat().st_mode
    except ValueError as error:
        raise OSError(errno.EINVAL, "a path cannot contain a NUL character", str(path)) from error
    for is_special, words in _SPECIAL.items():
        if is_special(mode):
            raise OSError(errno.EINVAL, f"it is {words}, not a file", str(path))
    return path


def real(path: str | Path) -> Path:
    """Follow all links of a path; one that leads to itself stays, where pathlib raises."""
    return Path(os.path.realpath(path))


def exists(path: Path) -> bool:
    """Return True if something is there. A name that no file can have is an OSError to pathlib."""
    try:
        return path.exists()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Return True if a folder is there, see :func:`exists`."""
    return exists(path) and path.is_dir()


def is_file(path: Path) -> bool:
    """Return True if a plain file is there, see :func:`exists`."""
    return exists(path) and path.is_file()


def try_lock(folder: Path) -> int | None:
    """Lock a folder until the returned descriptor is closed or the process ends.

    Returns:
        None if a living process holds the lock, the folder is gone, the system has no locks, or
        it lets this process open no more files.
    """
    try:
        return _lock(folder)
    except OSError:
        return None


def _lock(folder: Path) -> int | None:
    """Lock a folder, see :func:`try_lock`; an OSError if no more files can be opened."""
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (ImportError, AttributeError):
        return None
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.lstat(folder)):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def locked_folder(make: Callable[[], Path]) -> tuple[Path, int | None]:
    """Make a folder and lock it, which shows other processes that it is in use.

    Another process may sweep the folder away before it is locked; then another one is made.

    Args:
        make: makes an empty folder with a name that nobody uses.

    Returns:
        The folder, and its lock as of :func:`try_lock`; None where the system has no locks.

    Raises:
        OSError: the system lets this process open no more files.
    """
    for _ in range(_TRIES):
        folder = make()
        try:
            if (lock := _lock(folder)) is not None:
                return folder, lock
        except OSError:
            folder.rmdir()
            raise
        remove_tree(folder)
    return make(), None


def remove_tree(folder: Path) -> None:
    """Remove a folder as far as possible, also where hardly a file can be opened.

    A link stays, with the folder that it leads to.
    """
    shutil.rmtree(folder, ignore_errors=True)  # has two open for each level
    with suppress(OSError):
        _emptied(folder)


def _emptied(folder: Path) -> None:
    """Remove a folder with one open file at a time; a link is not followed."""
    if not stat.S_ISDIR(folder.lstat().st_mode):
        raise NotADirectoryError(folder)
    for path in list(folder.iterdir()):
        if stat.S_ISDIR(path.lstat().st_mode):
            _emptied(path)
        else:
            path.unlink()
    folder.rmdir()


@contextmanager
def if_abandoned(folder: Path) -> Iterator[bool]:
    """Enter with True, and the lock, if the folder is this user's and nobody alive holds it."""
    descriptor = try_lock(folder) if _is_own(folder) else None
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _is_own(folder: Path) -> bool:
    with suppress(OSError, AttributeError):  # the latter where users have no numbers
        found = folder.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return False
