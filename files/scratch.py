"""Scratch folders: they go with the process that made them, or, where it was killed, when the next one is made."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from files.errors import CocuError
from files.locks import LOCK, taken


@contextmanager
def scratch_folder(prefix: str, inside: Path | None = None) -> Iterator[Path]:
    """A new folder for this block in the place for temporary files; prefix: of its name, which nobody else's has.

    inside: another folder for it.
    """
    _sweep(prefix, inside or Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=inside))
    owner = os.getpid()
    with taken(folder, folder / LOCK):
        try:
            yield folder
        finally:
            if os.getpid() == owner:  # not in a worker that was forked and ends
                shutil.rmtree(folder, ignore_errors=True)


def _sweep(prefix: str, place: Path) -> None:
    """Remove those of processes that are no more. Others' folders, and what only looks like one, stay."""
    for folder in place.glob(f"{prefix}*"):
        with contextlib.suppress(CocuError, OSError):
            status = folder.lstat()
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and (folder / LOCK).exists():
                with taken(folder, folder / LOCK):
                    shutil.rmtree(folder, ignore_errors=True)
