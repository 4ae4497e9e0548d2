"""What outlasts a power cut: files and names that are waited for until they are on the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from pathlib import Path

from files.errors import MisuseError

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.DOTALL | re.IGNORECASE)


def make_folder(folder: Path, inside: Path | None = None) -> None:
    """The folder and those above it, so that they outlast a power cut as the files in them do.

    inside: an absolute path; neither it nor what is above is made. Raises FileNotFoundError where it is not there.
    """
    if folder.is_dir():
        return
    check_local(folder)
    if folder.absolute() == inside:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    make_folder(folder.parent, inside)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)


def check_local(path: Path) -> None:
    """Raises MisuseError for an address."""
    if address := remote_address(path):
        raise MisuseError(f"{address}: this command writes to disks of this machine only; give a local place")


def remote_address(given: str | Path) -> str | None:
    """The address of what lies elsewhere, s3://BUCKET/NAME, also where it came as a path, which has one slash of both.

    None for what lies here. A folder here of a name such as "s3:" is given by its absolute path.
    """
    found = _ADDRESS.fullmatch(str(given))
    if found is None or (scheme := found[1].lower()) == "file":
        return None
    root = "/" if scheme == "local" else ""
    return f"{scheme}://{root}{found[2].rstrip('/')}"


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def begin_sync(file: int, start: int, stop: int) -> None:
    """Let the disk begin with bytes [start, stop) of an open file, of which nobody needs to wait for the end."""
    if hasattr(os, "posix_fadvise"):  # where it is not, they are written with the rest
        with contextlib.suppress(OSError):
            os.posix_fadvise(file, start, stop - start, os.POSIX_FADV_DONTNEED)
