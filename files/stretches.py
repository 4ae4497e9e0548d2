"""A file looked at forwards: it is read by large pieces, of which every stretch can be had without a copy."""

from __future__ import annotations

import os
from typing import BinaryIO

PIECE = 1 << 20
_NEAR = PIECE // 4


class Stretches:
    """An open file of the file system, read by pieces of `PIECE` bytes as long as the jumps in it are short.

    Where they are long, files of many megabytes being passed over, no more is read than is asked for.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file.fileno()
        self._at = self._start = 0  # where reading goes on, and where the piece starts
        self._piece = memoryview(b"")

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """As of a file; whence: of its beginning, or 2: of its end."""
        self._at = offset if whence == 0 else os.fstat(self._file).st_size + offset
        return self._at

    def read(self, size: int, /) -> bytes:
        """As of a file."""
        start, end = self._at, self._start + len(self._piece)
        if start < self._start or start + size > end:
            near = self._start <= start <= end + _NEAR
            self._piece = memoryview(_read(self._file, max(PIECE, size) if near else size, start))
            self._start = start
        self._at += size
        return bytes(self.stretch(start, size))

    def stretch(self, start: int, size: int) -> memoryview:
        """Bytes of the file; fewer where it ends."""
        at = start - self._start
        if at < 0 or at + size > len(self._piece):
            return memoryview(_read(self._file, size, start))
        return self._piece[at : at + size]


def _read(file: int, size: int, start: int) -> bytes:
    data = os.pread(file, size, start)
    while len(data) < size and (more := os.pread(file, size - len(data), start + len(data))):
        data += more  # as much as one call gives
    return data
