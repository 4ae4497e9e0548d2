"""Locks: a folder belongs to one process at a time, and stays where it is until that one has ended."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from files.errors import CocuError, MisuseError
from files.synced import make_folder

LOCK = ".lock"
WAIT_SECONDS = 20.0  # for another that begins in a folder that is shared


class Busy(CocuError):
    """Another run is at work there."""


@contextmanager
def locked(folder: Path, mark: str | None, begin: Callable[[bool], None] | None = None) -> Iterator[None]:
    """The folder, made if need be, for this block alone, or beside others that give a `begin`, too.

    Where the block is refused, or fails, before anything but the mark stands in it, it is as it was before: the mark
    goes, and so do folders that were made.

    mark: the file that says whose it is; without it the folder must be empty but for hidden files. None: other files
    may lie there. begin: done first, with whether nobody else is there; nobody comes meanwhile. Raises MisuseError
    where it is a file, or holds other files; CocuError where another run is at work there, where it cannot be written,
    and where it is gone before the block ends, whatever else went wrong by that.
    """
    if folder.exists() and not folder.is_dir():
        raise MisuseError(f"{folder}: is a file; give a folder")
    if mark is not None and folder.is_dir() and not (folder / mark).exists():
        strangers = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        if strangers:
            raise MisuseError(
                f"{folder}: holds other files ({', '.join(strangers[:3])}) and no {mark}; give a new or empty folder"
            )
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    begun = mark is not None and not (folder / mark).exists()
    with taken(folder, folder / LOCK, begin) as held:
        try:
            yield
        except Exception as error:
            held.check()
            if isinstance(error, CocuError):
                _leave_nothing(held, mark if begun else None, made)
            raise
        held.check()


@contextmanager
def locked_file(path: Path, part: str = "") -> Iterator[None]:
    """A file, which need not be there, for this block alone. Raises CocuError as `locked`.

    part: "I/N", of work that fills the folder of the file, which stands for it.
    """
    beside = path.with_name(f".{path.name}{LOCK}")
    with taken(path, beside, part=part):
        try:
            yield
        finally:
            beside.unlink(missing_ok=True)  # here already: who waits at the lock of a file that is gone tries again


@dataclass(frozen=True)
class Held:
    """What a process holds: its absolute path, that of its lock, the lock's device and number, and its open file."""

    path: str
    lock: str
    place: tuple[int, int]
    opened: int

    def check(self) -> None:
        """Raises CocuError where it was removed, or another was put in its place."""
        if _place(self.lock) != self.place:
            raise CocuError(
                f"{self.path}: was removed, moved or replaced while this run was at work there, and what was written "
                "is gone with it; run the same command again, and leave its --out alone until it ends"
            )

    def alone(self) -> bool:
        """Whether nobody else is there, nor comes any more; for who has opened it."""
        try:
            fcntl.lockf(self.opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # others, or no locks there
            return False
        return True


# What this process holds, or the one that started it. It does not lock itself out: what is here it holds already.
_HELD = dict[tuple[int, int], Held]()


def all_held() -> tuple[Held, ...]:
    """What this process holds, to be told to those that it starts."""
    return tuple(_HELD.values())


def watch(held: Iterable[Held]) -> None:
    """In a process that was started by one that holds these: `check_held` looks after them here, too."""
    _HELD.update((one.place, one) for one in held)


def check_held(path: Path) -> Path | None:
    """The held folder in which the path lies, if any. Raises CocuError where it is gone; for whoever writes there."""
    found = None
    for held in all_held():
        if f"{path.absolute()}".startswith(held.path + os.sep):
            held.check()
            found = Path(held.path)
    return found


def _leave_nothing(held: Held, mark: str | None, made: Sequence[Path]) -> None:
    """mark, made: what was not there before, the folder first of those above it."""
    with contextlib.suppress(OSError):
        names = set(os.listdir(held.path))
        if {name for name in names if not name.startswith(".")} <= {mark} and held.alone():
            if mark in names:
                os.unlink(os.path.join(held.path, mark))
            if made and names <= {LOCK, mark}:
                os.unlink(held.lock)
                for place in made:
                    place.rmdir()


# The lock itself.


@contextmanager
def taken(path: Path, lock: Path, begin: Callable[[bool], None] | None = None, part: str = "") -> Iterator[Held]:
    """The file `lock`, made if need be, for this block alone, in the name of `path`. Raises CocuError as `locked`.

    begin: as of `locked`. part: as of `locked_file`.
    """
    while True:
        # Not opened a second time: closing any handle of a file gives up a process's locks on it.
        if _place(str(lock)) in _HELD:
            raise _busy(path, part, "this process")
        opened = _opened(path, lock)
        try:
            status = os.fstat(opened)
            held = Held(os.path.abspath(path), os.path.abspath(lock), (status.st_dev, status.st_ino), opened)
            mine = _lock(opened, path, part, begin is not None)
            if _place(held.lock) != held.place:  # removed while it was waited for
                continue
            _HELD[held.place] = held
            try:
                if mine:
                    _sign(opened)
                if begin is not None:
                    begin(mine)
                    with contextlib.suppress(OSError):  # no locks there, as above
                        fcntl.lockf(opened, fcntl.LOCK_SH)
                yield held
            finally:
                del _HELD[held.place]
                if mine:
                    with contextlib.suppress(OSError):
                        os.ftruncate(opened, 0)
            return
        finally:
            os.close(opened)


def _lock(opened: int, path: Path, part: str, shared: bool) -> bool:
    """Lock it, and whether for this process alone; shared: beside others if need be, which are waited for a while."""
    end = time.monotonic() + WAIT_SECONDS
    while True:
        for kind in (fcntl.LOCK_EX, fcntl.LOCK_SH) if shared else (fcntl.LOCK_EX,):
            try:
                # Not flock: processes that this one starts would inherit it, and hold it for seconds after a kill.
                fcntl.lockf(opened, kind | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                continue
            except OSError:
                pass  # some network file systems have no locks; the folder is then the user's to keep single
            return kind == fcntl.LOCK_EX
        if not shared or time.monotonic() > end:
            raise _busy(path, part, _holder(opened))
        time.sleep(0.05)


def _opened(path: Path, lock: Path) -> int:
    try:
        make_folder(lock.parent)
        return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)  # it will be written to
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise CocuError(
                f"{path}: cannot be written ({error.strerror}); make it writable, or give another --out"
            ) from error
        raise


def _place(lock: str) -> tuple[int, int] | None:
    try:
        status = os.stat(lock)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _busy(path: Path, part: str, holder: str) -> Busy:
    if part:
        return Busy(f"{path.parent}: another run is at work on part {part} ({holder}); wait for it to end")
    return Busy(
        f"{path}: another run is at work on this {'folder' if path.is_dir() else 'file'} ({holder}); wait for it to "
        "end, or give another --out"
    )


def _sign(opened: int) -> None:
    """Write down who holds it. A full disk has no room for that, and the lock holds all the same."""
    with contextlib.suppress(OSError):
        os.ftruncate(opened, 0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        os.pwrite(opened, f"process {os.getpid()} on {socket.gethostname()} since {since}".encode(), 0)


def _holder(opened: int) -> str:
    with contextlib.suppress(OSError):
        said = os.pread(opened, 200, 0).decode("ascii", "replace")
        if re.fullmatch(r"process \d+ on [\w.-]+ since [\d: -]+", said):
            return said
    return "a process that has not said its name"
