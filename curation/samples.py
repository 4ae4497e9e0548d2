"""Samples of a WebDataset tar: consecutive members with one key, found by offset; broken stretches are stepped over."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from curation.rejects import Reject
from curation.tar_headers import read_plain

BLOCK = tarfile.BLOCKSIZE
END_OF_ARCHIVE = bytes(2 * BLOCK)
# Long names and the like; a header that announces more is not one to be believed.
MOST_HEADER_BYTES = 1 << 20
_EXTENDED = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_MAGIC, _MAGIC_AT = b"ustar", 257
_SCAN = 1 << 20
_META = re.compile(r"__[^/]*__($|/)")


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a sample: its field (name after the first dot, lower case), where its header and its data start."""

    field: str
    start: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Sample:
    """Consecutive members of a tar that share a key; bytes [start, end) of the tar hold them with their headers."""

    key: str
    members: tuple[Member, ...]
    start: int
    end: int

    def member(self, fields: tuple[str, ...]) -> Member | None:
        """First member with one of these fields."""
        return next((m for m in self.members if m.field in fields), None)


def read_samples(tar: BinaryIO) -> Iterator[Sample | Reject]:
    """Samples of an open, uncompressed tar, grouped by key. Repeated keys and broken stretches give rejects.

    Files without an ending, hidden ones and those named __so__ belong to no sample, as in WebDataset.
    """
    seen: set[str] = set()
    key: str | None = None
    members: list[Member] = []
    start = end = 0

    def finished() -> Iterator[Sample | Reject]:
        if key is None:
            return
        if key in seen:
            yield Reject(key, "repeated key: an earlier pair of this shard has it")
        else:
            seen.add(key)
            yield Sample(key, tuple(members), start, end)

    for info in _files(tar):
        if isinstance(info, Reject):
            yield from finished()
            key = None
            yield info
            continue
        folder, slash, name = info.name.rpartition("/")
        stem, _, field = name.partition(".")
        if not stem or not field or _META.match(info.name):
            continue
        this_key, field = folder + slash + stem, field.lower()
        if this_key != key or any(member.field == field for member in members):
            yield from finished()
            key, members, start = this_key, [], info.offset
        members.append(Member(field, info.offset, info.offset_data, info.size))
        end = info.offset_data + -(-info.size // BLOCK) * BLOCK
    yield from finished()


def read_member(tar: BinaryIO, member: Member) -> bytes:
    """Data of one member."""
    tar.seek(member.offset)
    return tar.read(member.size)


def _files(tar: BinaryIO) -> Iterator[tarfile.TarInfo | Reject]:
    """Regular files of a tar. After a broken stretch reading goes on at the next sound header.

    Whatever is wrong gives one reject with key "" for each stretch. A tar whose end is missing was cut short, even
    where the cut falls between two members.
    """
    length = tar.seek(0, 2)
    parser = tarfile.TarFile(fileobj=io.BytesIO(END_OF_ARCHIVE), encoding="utf-8", errors="surrogateescape")
    parser.fileobj = tar
    position = 0
    while True:
        if position >= length:
            yield Reject("", f"tar cut short: its end is missing at byte {length:,}" if length else "tar is empty")
            return
        try:
            info = _header(tar, parser, position)
        except _End:
            sound = _next_header(tar, position)
            if sound is None:
                return
            # Tars strung together, or a hole of zeros; what follows is read in both cases.
            yield Reject("", f"tar ends early: at byte {position:,}, and goes on at byte {sound:,}")
            position = sound
            continue
        except _Broken as error:
            sound = _next_member(tar, parser, position + 1)
            if sound is not None:
                yield Reject("", f"tar broken: from byte {position:,} to {sound:,} ({error})")
                position = sound
                continue
            if position == 0:
                yield Reject("", f"not a tar: {error}")
            elif length - position < BLOCK:
                yield Reject("", f"tar cut short: at byte {length:,}, in a header")
            else:
                yield Reject("", f"tar broken: from byte {position:,} to its end at {length:,} ({error})")
            return
        if info.offset_data + info.size > length:
            yield Reject("", f"tar cut short: at byte {length:,}, in {info.name}")
            return
        if info.issparse():
            yield Reject("", f"sparse file: {info.name} is not read")
        elif info.isreg():
            yield info
        position = parser.offset


class _End(Exception):
    """Zeros where a header could stand: the end of the archive."""


class _Broken(Exception):
    """No header where one has to be."""


def _header(tar: BinaryIO, parser: tarfile.TarFile, position: int) -> tarfile.TarInfo:
    """The member whose header starts at `position`; `parser.offset` becomes the position of the next."""
    tar.seek(position)
    block = tar.read(BLOCK)
    if not block.strip(b"\0"):
        raise _End
    if (plain := read_plain(block)) is not None:
        info = tarfile.TarInfo(plain[0])
        info.size, info.offset, info.offset_data = plain[1], position, position + BLOCK
        parser.offset = info.offset_data + -(-info.size // BLOCK) * BLOCK
        return info
    try:
        first = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if first.type in _EXTENDED and not 0 <= first.size <= MOST_HEADER_BYTES:
            raise _Broken(f"a header of {first.size:,} bytes")
        tar.seek(position)
        parser.offset = position
        info = tarfile.TarInfo.fromtarfile(parser)
    except tarfile.HeaderError as error:
        raise _Broken(str(error)) from error
    except (
        ValueError,
        IndexError,
        KeyError,
        OverflowError,
        RecursionError,
    ) as error:  # of extended headers with odd content
        raise _Broken(f"odd header: {error}") from error
    if info.size < 0 or parser.offset <= position:
        raise _Broken("a file of negative size")
    return info


def _next_member(tar: BinaryIO, parser: tarfile.TarFile, position: int) -> int | None:
    """Offset of the first header at or after `position` that can be believed; None where there is no header.

    Damage can leave a header its checksum, a mere sum, but not its size: then other members lie in what it calls its
    data. A tar within the tar is no such case: it begins with a header at once.
    """
    while (sound := _next_header(tar, position)) is not None:
        try:
            info = _header(tar, parser, sound)
        except (_End, _Broken):
            return sound
        inner = _next_header(tar, info.offset_data)
        if inner is None or inner == info.offset_data or inner >= info.offset_data + info.size:
            return sound
        position = inner
    return None


def _next_header(tar: BinaryIO, position: int) -> int | None:
    """Offset of the first tar header with a right checksum at or after `position`, at any byte."""
    origin, tail = position, b""
    tar.seek(position)
    while chunk := tar.read(_SCAN):
        window, base = tail + chunk, position - len(tail)
        at = window.find(_MAGIC)
        while at >= 0:
            start = base + at - _MAGIC_AT
            if start >= origin and _is_header(tar, start):
                return start
            at = window.find(_MAGIC, at + 1)
        position += len(chunk)
        tail = window[-len(_MAGIC) + 1 :]
        tar.seek(position)
    return None


def _is_header(tar: BinaryIO, position: int) -> bool:
    tar.seek(position)
    try:
        tarfile.TarInfo.frombuf(tar.read(BLOCK), "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True
