"""Locks: a folder belongs to one process at a time."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from files.atomic import make_folder
from files.errors import CocuError, MisuseError

# A process does not lock itself out: these files, by device and number, it holds already.
_HELD = set[tuple[int, int]]()


@contextmanager
def locked(folder: Path, mark: str) -> Iterator[None]:
    """The folder, made if need be, for this block alone.

    mark: the file that says whose it is; without it the folder must be empty but for hidden files. Raises MisuseError
    where it is a file, holds other files, or another run is at work there; CocuError where it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise MisuseError(f"{folder}: is a file; give a folder")
    if folder.is_dir() and not (folder / mark).exists():
        strangers = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        if strangers:
            raise MisuseError(
                f"{folder}: holds other files ({', '.join(strangers[:3])}) and no {mark}; give a new or empty folder"
            )
    try:
        make_folder(folder)
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise CocuError(
                f"{folder}: cannot be written ({error.strerror}); make it writable, or give another --out"
            ) from error
        raise
    status = os.fstat(lock)
    place = (status.st_dev, status.st_ino)
    busy = f"{folder}: another run is at work on this folder; wait for it to end, or give another"
    if place in _HELD:  # closing any handle of a file gives up a process's locks on it: this one is left alone
        raise MisuseError(busy)
    try:
        try:
            # Not flock: processes that this one starts would inherit it, and hold it for seconds after a kill.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise MisuseError(busy) from None
        except OSError:
            pass  # some network file systems have no locks; the folder is then the user's to keep single
        _HELD.add(place)
        yield
    finally:
        _HELD.discard(place)
        os.close(lock)
