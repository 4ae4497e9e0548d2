"""Tar headers, read and written: those of the plain kind, a regular file with a short name, quickly.

Python's tarfile knows every kind and takes some 40 microseconds a header; most headers of most shards are plain.
"""

from __future__ import annotations

import io
import tarfile
from typing import BinaryIO, Self

BLOCK = tarfile.BLOCKSIZE
ZEROS = bytes(BLOCK)
END_OF_ARCHIVE = 2 * ZEROS
# Long names and the like; a header that announces more is not one to be believed.
MOST_HEADER_BYTES = 1 << 20
_EXTENDED = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_SUM = slice(148, 156)
_FILE = ord(tarfile.REGTYPE)
_MAGICS = (tarfile.POSIX_MAGIC, tarfile.GNU_MAGIC)
_POSIX = b"ustar\0"
_SPACES = 8 * ord(" ")

# Name, b"" for what is no file (a folder, a link), start of the data, their size, start of the next header, and whether
# the file is sparse; then its data are not those of the file, and their size is said to be 0.
Header = tuple[bytes, int, int, int, bool]


class BrokenTar(Exception):
    """No header where one has to be; the message says what is wrong."""


class PosixInfo(tarfile.TarInfo):
    """tarfile's reading of a header, but for the folder before a name: GNU keeps times where POSIX has it."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """As tarfile's. Raises tarfile.HeaderError."""
        info = super().frombuf(buf, encoding, errors)
        if buf[257:263] != _POSIX and info.type not in tarfile.GNU_TYPES:
            name = bytes(buf[:100]).partition(b"\0")[0].decode(encoding, errors)
            info.name = name.rstrip("/") if info.isdir() else name
        return info


def read_plain(block: bytes, position: int, checked: bool = True) -> Header | None:
    """A header of the plain kind that stands at `position`; None for any other, and for one that is not sound.

    checked: add up the header, too, which costs as much as all the rest.
    """
    magic = block[257:265]
    if len(block) != BLOCK or block[156] != _FILE or magic not in _MAGICS:
        return None
    digits = block[124:136].strip(b" \0")
    if not digits.isdigit():
        return None
    try:
        size = int(digits, 8)
        if checked and int(block[_SUM].strip(b" \0"), 8) != sum(block) - sum(block[_SUM]) + _SPACES:
            return None
    except ValueError:  # an 8 or a 9
        return None
    name = block[:100].partition(b"\0")[0]
    if block[345] and magic == tarfile.POSIX_MAGIC:
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    data = position + BLOCK
    return name, data, size, data + -(-size // BLOCK) * BLOCK, False


def read_any(file: BinaryIO, position: int) -> Header:
    """A header of any kind, by tarfile, with the long name and the like before it. Raises BrokenTar."""
    parser = tarfile.TarFile(fileobj=io.BytesIO(END_OF_ARCHIVE), encoding="utf-8", errors="surrogateescape")
    parser.fileobj, parser.offset = file, position
    file.seek(position)
    try:
        first = PosixInfo.frombuf(file.read(BLOCK), "utf-8", "surrogateescape")
        if first.type in _EXTENDED and not 0 <= first.size <= MOST_HEADER_BYTES:
            raise BrokenTar(f"a header of {first.size:,} bytes")
        if first.type == tarfile.XGLTYPE:  # said of all files: nothing in it tells where they lie
            return b"", position + BLOCK, 0, position + BLOCK + -(-first.size // BLOCK) * BLOCK, False
        file.seek(position)
        info = PosixInfo.fromtarfile(parser)
    except tarfile.HeaderError as error:
        raise BrokenTar(str(error) or "no header") from error
    except (ValueError, IndexError, KeyError, OverflowError, RecursionError) as error:
        raise BrokenTar(f"odd header: {error}") from error  # an extended one with odd content
    if info.size < 0 or parser.offset <= position:
        raise BrokenTar("a file of negative size")
    name = info.name.encode("utf-8", "surrogateescape") if info.isreg() else b""
    sparse = info.issparse()
    return name, info.offset_data, info.size if name and not sparse else 0, parser.offset, sparse


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


def tar_member(name: str, data: bytes) -> bytes:
    """One tar member: header, data, padding."""
    return b"".join((write_header(name, len(data)), data, bytes(-len(data) % BLOCK)))


def write_end(file: BinaryIO) -> None:
    """The end of a tar: two blocks of zeros, and more until a record is full."""
    file.write(END_OF_ARCHIVE)
    file.write(bytes(-file.tell() % tarfile.RECORDSIZE))
