"""Tar headers of the plain kind, read and written quickly: a regular file with a short name.

Python's tarfile knows every kind and takes some 40 microseconds a header; most headers of most shards are plain.
"""

from __future__ import annotations

import tarfile

BLOCK = tarfile.BLOCKSIZE
_SUM = slice(148, 156)
_KINDS = (tarfile.REGTYPE, tarfile.AREGTYPE)
_MAGICS = (tarfile.POSIX_MAGIC, tarfile.GNU_MAGIC)
_SPACES = 8 * ord(" ")


def read_plain(block: bytes) -> tuple[str, int] | None:
    """(name, size) of a header with a right checksum; None for one that is not plain, or not sound."""
    if len(block) != BLOCK or block[156:157] not in _KINDS or block[257:265] not in _MAGICS:
        return None
    digits = block[124:136].strip(b" \0")
    summed = block[_SUM].strip(b" \0")
    if not (digits.isdigit() and summed.isdigit()):
        return None
    try:
        if int(summed, 8) != sum(block) - sum(block[_SUM]) + _SPACES:
            return None
        size = int(digits, 8)
    except ValueError:  # an 8 or a 9
        return None
    name = block[:100].partition(b"\0")[0]
    prefix = block[345:500].partition(b"\0")[0]
    if prefix:
        name = prefix + b"/" + name
    if name.endswith(b"/"):
        return None
    return name.decode("utf-8", "surrogateescape"), size


_EMPTY = tarfile.TarInfo("").tobuf(tarfile.PAX_FORMAT)
_OWNER, _TIME, _REST = _EMPTY[100:124], _EMPTY[136:148], _EMPTY[156:]
_BASE = sum(_OWNER) + sum(_TIME) + sum(_REST) + _SPACES


def write_header(name: str, size: int) -> bytes:
    """Header of a regular file. Time and owner are zero, the mode is 0644: the same input gives the same bytes."""
    raw = name.encode("utf-8", "surrogateescape")
    if len(raw) > 100 or not raw.isascii() or size >= 8**11:
        info = tarfile.TarInfo(name)
        info.size = size
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    digits = b"%011o\0" % size
    summed = b"%06o\0 " % (_BASE + sum(raw) + sum(digits))
    return b"".join((raw.ljust(100, b"\0"), _OWNER, digits, _TIME, summed, _REST))
