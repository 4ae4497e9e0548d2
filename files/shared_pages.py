"""Memory without a name that several processes see; it goes with the last of them, however they end."""

from __future__ import annotations

import mmap
import os
import tempfile
from multiprocessing import reduction
from typing import IO, Any


class SharedPages:
    """So many bytes for this process, and for those that it is given to as they start.

    Not in /dev/shm: a container's is often too small for a batch of pictures. Where the system has no memory files it
    is a temporary file that has lost its name.
    """

    def __init__(self, size: int) -> None:
        if hasattr(os, "memfd_create"):
            self._file: IO[bytes] = os.fdopen(os.memfd_create("cocu"), "r+b")
        else:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._file.truncate(size)
        self.bytes = mmap.mmap(self._file.fileno(), size)

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (reduction.DupFd(self._file.fileno()), len(self.bytes))


def kept(data: bytes) -> SharedPages:
    """These bytes. As an argument of a process more than a pipe holds (64 kB) make who starts it wait until it has
    imported all that stands before them, so that many processes start one after the other.
    """
    pages = SharedPages(len(data))
    pages.bytes[:] = data
    return pages


def _received(file: Any, size: int) -> SharedPages:
    pages = SharedPages.__new__(SharedPages)
    pages._file = os.fdopen(file.detach(), "r+b")
    pages.bytes = mmap.mmap(pages._file.fileno(), size)
    return pages
