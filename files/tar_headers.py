"""Tar headers, read and written: those of the plain kind, a regular file with a short name, quickly.

Python's tarfile reads the blocks of the rarer kinds. What stands before a file's own header, a long name or records of
POSIX, is read here: as often as it comes, however much it announces, in one pass and little memory.
"""

from __future__ import annotations

import tarfile
import zlib
from functools import lru_cache
from typing import Protocol, Self

BLOCK = tarfile.BLOCKSIZE
ZEROS = bytes(BLOCK)
END_OF_ARCHIVE = 2 * ZEROS
# Long names and the like; a header that announces more is not one to be believed.
MOST_HEADER_BYTES = 1 << 20
MOST_RECORDS = 1000
MAGIC, MAGIC_AT = b"ustar", 257
_MAGICS = (tarfile.POSIX_MAGIC, tarfile.GNU_MAGIC)
_POSIX = b"ustar\0"
_FILE, _GLOBAL, _RECORDS, _LONG_NAME, _EXTENDED = b"0", b"g", b"xX", b"L", b"xXgLK"
NAME, SIZE, SUM = slice(0, 100), slice(124, 136), slice(148, 156)  # of a header
_SPACES = 8 * ord(" ")
_ADLER = 65_521
_SHORT_NAME = 100  # bytes: a name no longer than this stands in the file's own header

# Name, b"" for what is no file (a folder, a link), start of the data, their size, start of the next header, and whether
# the file is sparse; then its data are not those of the file, and their size is said to be 0.
Header = tuple[bytes, int, int, int, bool]


class Seekable(Protocol):
    """A file, or whatever is read as one."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """As of a file."""

    def read(self, size: int, /) -> bytes:
        """As of a file."""


class BrokenTar(Exception):
    """No header where one has to be; the message says what is wrong."""


def read_plain(block: bytes, position: int, checked: bool = True, kinds: bytes = _FILE) -> Header | None:
    """A header of the plain kind that stands at `position`; None for any other, and for one that is not sound.

    checked: compare its sum, too, modulo a prime that the sum of a header of text does not reach.
    """
    magic = block[257:265]
    if len(block) != BLOCK or block[156] not in kinds or magic not in _MAGICS:
        return None
    digits = block[SIZE].strip(b" \0")
    if not digits.isdigit():
        return None
    try:
        size = int(digits, 8)
        if checked and not _has_its_sum(block):
            return None
    except ValueError:  # an 8 or a 9
        return None
    name = block[NAME].partition(b"\0")[0]
    if block[345] and magic == tarfile.POSIX_MAGIC:
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    data = position + BLOCK
    return name, data, size, data + -(-size // BLOCK) * BLOCK, False


def _has_its_sum(block: bytes) -> bool:
    """Whether the sum that a header says is that of its bytes. Raises ValueError where it says none."""
    return zlib.adler32(block) & 0xFFFF == _expected(block[SUM])  # the lower half is the sum of the bytes, plus 1


@lru_cache(1 << 12)  # sums of headers of one kind are close together
def _expected(said: bytes) -> int:
    """The lower half of the checksum of a header that says so."""
    return (int(said.strip(b" \0"), 8) + sum(said) - _SPACES + 1) % _ADLER


def read_any(file: Seekable, position: int) -> Header:
    """A header of any kind, with the long name and the like before it. Raises BrokenTar."""
    before: dict[bytes, tuple[int, int]] = {}  # kind of what stands before the file's own header -> its data and size
    while True:
        file.seek(position)
        block = file.read(BLOCK)
        kind = block[156:157]
        header = read_plain(block, position, kinds=_FILE + _EXTENDED) or _read_odd(file, block, position)
        name, data, size, following, _ = header
        if not kind or kind not in _EXTENDED:
            break
        if size > MOST_HEADER_BYTES:
            raise BrokenTar(f"a header of {size:,} bytes")
        if kind == _GLOBAL and not before:  # said of all files: nothing in it tells where they lie
            return b"", data, 0, following, False
        if kind in before:
            raise BrokenTar("a long name, or the like, of a file that is not there")
        before[kind] = data, size
        position = following
    for kind, (data, size) in before.items() if name else ():
        file.seek(data)
        header = _described(header, name, kind, file.read(size))
    return header


def is_header(block: bytes) -> bool:
    """Whether a block has the sum of a header, be this one that can be used or not."""
    if len(block) != BLOCK or not block[SUM].strip(b" \0").isdigit():
        return False
    try:
        if not _has_its_sum(block):  # some were made with a sum of signed bytes
            _PosixInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


def _described(header: Header, own: bytes, kind: bytes, said: bytes) -> Header:
    """The header of a file whose own name is `own` with what is said before it. Raises BrokenTar."""
    name, data, size, following, sparse = header
    found = name
    if kind == _LONG_NAME:
        found = said.partition(b"\0")[0]
    elif kind in _RECORDS:
        records = _read_records(said)
        found = records.get(b"path", b"").rstrip(b"/") or name
        if digits := records.get(b"size"):
            if not digits.isdigit() or len(digits) > 20:
                raise BrokenTar(f"a file of {digits[:30].decode('latin-1')!r} bytes")
            size = int(digits)
            following = data + -(-size // BLOCK) * BLOCK
        sparse = sparse or any(key.startswith(b"GNU.sparse.") for key in records)
    if found not in (name, own) and len(found) <= _SHORT_NAME and found.isascii():  # it has room in the header itself
        raise BrokenTar("the name of another file")
    return found, data, 0 if sparse else size, following, sparse


def _read_records(body: bytes) -> dict[bytes, bytes]:
    """POSIX's "length key=value" records. Raises BrokenTar."""
    found: dict[bytes, bytes] = {}
    at = 0
    for _ in range(MOST_RECORDS):
        if at == len(body) or not body[at]:
            return found
        space = body.find(b" ", at, at + 20)
        digits = body[at:space]
        end = at + int(digits) if space > at and digits.isdigit() else 0
        key, equals, value = body[space + 1 : end - 1].partition(b"=")
        if not at < space < end <= len(body) or body[end - 1] != ord("\n") or not equals:
            raise BrokenTar("records that do not follow one another")
        found[key] = value
        at = end
    raise BrokenTar(f"more than {MOST_RECORDS:,} records")


def _read_odd(file: Seekable, block: bytes, position: int) -> Header:
    """A header as tarfile reads it, by itself. Raises BrokenTar."""
    try:
        info = _PosixInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise BrokenTar(str(error) or "no header") from error
    except (ValueError, IndexError, OverflowError) as error:
        raise BrokenTar(f"odd header: {error}") from error
    if info.size < 0:
        raise BrokenTar("a file of negative size")
    data, size = position + BLOCK, info.size
    if block[156:157] in _EXTENDED:
        return b"", data, size, data + -(-size // BLOCK) * BLOCK, False
    if sparse := info.type == tarfile.GNUTYPE_SPARSE:
        data = _after_sparse_map(file, block, data)
    if not info.isreg() and info.type in tarfile.SUPPORTED_TYPES:  # a folder or a link has no data, whatever it says
        return b"", data, 0, data, False
    name = info.name.encode("utf-8", "surrogateescape") if info.isreg() else b""
    return name, data, size if name and not sparse else 0, data + -(-size // BLOCK) * BLOCK, sparse


def _after_sparse_map(file: Seekable, block: bytes, position: int) -> int:
    """Where the data of GNU's sparse file start: behind the blocks of its map. Raises BrokenTar."""
    more = block[482]
    while more:
        file.seek(position)
        block = file.read(BLOCK)
        if len(block) < BLOCK:
            raise BrokenTar("cut short in the map of a sparse file")
        if block[MAGIC_AT:].startswith(MAGIC):
            raise BrokenTar("a header in the map of a sparse file")
        more = block[504]
        position += BLOCK
    return position


class _PosixInfo(tarfile.TarInfo):
    """tarfile's reading of a header, but for the folder before a name: GNU keeps times where POSIX has it."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """As tarfile's. Raises tarfile.HeaderError."""
        info = super().frombuf(buf, encoding, errors)
        if buf[257:263] != _POSIX and info.type not in tarfile.GNU_TYPES:
            name = bytes(buf[:100]).partition(b"\0")[0].decode(encoding, errors)
            info.name = name.rstrip("/") if info.isdir() else name
        return info


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


def member_size(name: str, size: int) -> int:
    """Bytes of a member as `tar_member` makes it, of data of this size."""
    plain = len(name) <= 100 and name.isascii()
    return (BLOCK if plain else len(write_header(name, size))) + -(-size // BLOCK) * BLOCK
